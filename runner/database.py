"""The journal's file: how it is opened, how its tables are made, and what a transaction is.

Transactions are explicit and begin IMMEDIATE with a patience of 30 seconds: deferred ones fail at once when 16 runs
write at the same time.
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from runner.migrations import MIGRATIONS
from schemas import presence
from schemas.errors import SkipjackError

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds that a writer waits for the others."""

HELD_BACK = 256 * 1024
"""Bytes that are held back for ends of runs: some dozens find room in there."""


@contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """Open the journal, made on a new machine and brought to this version's tables when needed.

    SkipjackError when it cannot be opened, is damaged, or is not the one that was here.
    """
    _require(path)
    with _explained(path):
        connection = sqlite3.connect(f"file:{_quoted(path)}?mode=rw", PATIENCE, uri=True, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            _prepare(connection, path)
            presence.leave_mark(path)
            yield connection
        finally:
            connection.close()


def check(path: str) -> None:
    """Check that the journal, if this machine has had one, is there and can be opened; SkipjackError if not."""
    if presence.fault(path) is not None:
        with opened(path):
            pass


def _require(path: str) -> None:
    """Make the journal on a new machine; SkipjackError when its state is lost."""
    try:
        fault = presence.fault(path)
        if fault is None:
            presence.make(path, _fill)
            fault = presence.fault(path)
    except sqlite3.Error as error:
        raise SkipjackError(f"The journal {path} cannot be made: {error}.", _ROOM) from error
    except OSError as error:
        todo = "Check the folder, its owner and the free space."
        raise SkipjackError(f"The journal {path} cannot be opened: {error.strerror}.", todo) from error
    if fault:
        raise SkipjackError(f"The journal {path} cannot be used: {fault}.", _anew(path))


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "no such" in str(error):  # a table or a column
            raise SkipjackError(f"The journal {path} is damaged: {error}.", _anew(path)) from error
        raise SkipjackError(f"The journal {path} cannot be used: {error}.", _ROOM) from error
    except sqlite3.DatabaseError as error:
        raise SkipjackError(f"The journal {path} is damaged: {error}.", _anew(path)) from error


_ROOM = "See whether the disk is full or read-only; nothing was recorded."


def _anew(path: str) -> str:
    return (
        "Nothing runs until it is back: put a backup there. To start anew instead, with every mirror due and none "
        f"paused or disabled, run `rm {path}*`."
    )


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _fill(path: str) -> None:
    """Write a journal in which nothing has happened yet."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        _migrate(connection)
    finally:
        connection.close()


@contextmanager
def copied(path: str) -> Iterator[sqlite3.Connection]:
    """A copy of the journal in memory, with this version's tables; empty on a new machine.

    The journal itself is only read, also by a user who may not write it. SkipjackError when it cannot be read, is
    damaged, or is not the one that was here.
    """
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as copy, _explained(path):
        copy.row_factory = sqlite3.Row
        if _is_new(path):
            _migrate(copy)
        else:
            with contextlib.closing(_reading(path)) as source:
                source.backup(copy)
            _prepare(copy, path)
        yield copy


def _is_new(path: str) -> bool:
    """Whether this machine never had a journal; SkipjackError when the one that it had is lost or cannot be reached."""
    try:
        fault = presence.fault(path)
    except OSError as error:
        todo = "Run the command as the worker's user or as root."
        raise SkipjackError(f"The journal {path} cannot be read: {error.strerror}.", todo) from error
    if fault:
        raise SkipjackError(f"The journal {path} cannot be used: {fault}.", _anew(path))
    return fault is None


def _reading(path: str) -> sqlite3.Connection:
    """Open the journal for reading alone; without a right to write its folder that is possible while it is at rest."""
    address = f"file:{_quoted(path)}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.OperationalError:
        connection.close()
        if os.path.exists(f"{path}-wal"):
            raise
        return sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)
    return connection


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("PRAGMA synchronous=FULL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == len(MIGRATIONS):
        return
    if version > len(MIGRATIONS):
        what = f"The journal {path} was written by a newer version, or by another program."
        raise SkipjackError(what, "Install that version again, or put a backup there.")
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'identity'").fetchone():
        raise SkipjackError(f"The file {path} is not a journal of Skipjack.", _anew(path))
    _migrate(connection)


def _migrate(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        version = connection.execute("PRAGMA user_version").fetchone()[0]  # another process may have been faster
        for step in MIGRATIONS[version:]:
            for statement in filter(str.strip, step.split(";")):
                connection.execute(statement)
        if not connection.execute("SELECT 1 FROM identity").fetchone():
            connection.execute("INSERT INTO identity (journal, acknowledged) VALUES (?, 0)", (os.urandom(16).hex(),))
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
