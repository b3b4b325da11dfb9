"""The journal's file: how it is opened, how its tables are made, and what a transaction is.

Transactions are explicit and begin IMMEDIATE with a patience of 30 seconds: deferred ones fail at once when 16 runs
write at the same time.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from runner.migrations import MIGRATIONS
from schemas.errors import SkipjackError

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds that a writer waits for the others."""

HELD_BACK = 256 * 1024
"""Bytes that are held back for ends of runs: some dozens find room in there."""


@contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """Open the journal, made or brought to this version's tables when needed; SkipjackError when it cannot be."""
    try:
        connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    except sqlite3.Error as error:
        raise SkipjackError(f"The journal {path} cannot be opened: {error}.", "Check the folder's owner.") from error
    try:
        connection.row_factory = sqlite3.Row
        _prepare(connection, path)
        yield connection
    except sqlite3.OperationalError as error:
        todo = "See whether the disk is full or read-only; nothing was recorded."
        raise SkipjackError(f"The journal {path} cannot be used: {error}.", todo) from error
    except sqlite3.DatabaseError as error:
        todo = "Put a backup there, or move it away with its `-wal`: then every mirror begins anew, and none is paused."
        raise SkipjackError(f"The journal {path} is damaged: {error}.", todo) from error
    finally:
        connection.close()


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("PRAGMA synchronous=FULL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == len(MIGRATIONS):
        return
    if version > len(MIGRATIONS):
        raise SkipjackError(f"The journal {path} was written by a newer version.", "Install that version again.")
    connection.execute("PRAGMA journal_mode=WAL")
    with transaction(connection):
        version = connection.execute("PRAGMA user_version").fetchone()[0]  # another process may have been faster
        for step in MIGRATIONS[version:]:
            for statement in filter(str.strip, step.split(";")):
                connection.execute(statement)
        if not connection.execute("SELECT 1 FROM identity").fetchone():
            connection.execute("INSERT INTO identity VALUES (?, 0)", (os.urandom(16).hex(),))
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS):d}")


def hold_back(connection: sqlite3.Connection) -> None:
    """Take the room on the journal's disk that the end of a run may need. It is the last thing that must not be lost;
    without room nothing is held back."""
    path = _held_back(connection)
    if os.path.exists(path):
        return
    aside = f"{path}.new"
    with suppress(OSError):
        try:
            with open(aside, "wb") as file:
                file.write(os.urandom(HELD_BACK))  # nothing that a file system would make smaller
            os.replace(aside, path)
        except OSError:
            os.unlink(aside)


def with_room(connection: sqlite3.Connection, change: Callable[[], T]) -> T:
    """Make a change as one transaction, if need be in the room that was held back."""
    try:
        with transaction(connection):
            return change()
    except sqlite3.OperationalError as error:
        try:
            os.unlink(_held_back(connection))
        except OSError:
            raise error from None  # there is none left
    with transaction(connection):
        return change()


def _held_back(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA database_list").fetchone()[2]) + "-reserve"


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do several things as one, durably; part of a transaction that is under way already."""
    part_of_another = bool(connection.in_transaction)
    if part_of_another:
        yield
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk makes SQLite undo everything by itself
            connection.execute("ROLLBACK")
        raise


@contextmanager
def if_there_is_room(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that a disk without room makes nothing of."""
    with suppress(sqlite3.OperationalError), transaction(connection):
        yield


def marks(values: frozenset[str]) -> str:
    """As many question marks as there are values."""
    return ", ".join("?" * len(values))
