"""Return unused space of the journal to the disk. Called by the courier, after it has delivered reports."""

import os
import sqlite3
from contextlib import suppress

from schemas import sqlite_database

GIVEN_BACK, KEPT = 4 * 1024**2, 1024**2
"""Unused bytes in the file from which on some are returned to the disk, and how many are kept for new rows."""

REWRITTEN = 64 * 1024**2
"""Largest size in bytes of a journal that VACUUM rewrites as a whole, which takes a few seconds at most."""

_STEP = 256
"""Pages that are returned in one transaction."""

_INCREMENTAL = 2
"""SQLite's value of `auto_vacuum` for files whose unused pages can be returned one by one."""


def give_back(connection: sqlite3.Connection) -> None:
    """Return unused space of the journal to the disk, as after a week's reports were delivered.

    In small steps, so that others can write in between. If the disk is full or another process reads, the rest is left
    for later.
    """
    if _unused(connection) < GIVEN_BACK:
        return
    with suppress(sqlite3.OperationalError):
        if _pragma(connection, "auto_vacuum") != _INCREMENTAL:
            _make_incremental(connection)
        before = None  # a large journal of an earlier release returns nothing: stop when a step has no effect
        while before != (left := _unused(connection)) and left > KEPT and _free_on_disk(connection) > 2 * GIVEN_BACK:
            before = left
            # All rows are fetched, since SQLite returns one page for each step of the statement.
            connection.execute(f"PRAGMA incremental_vacuum({_STEP:d})").fetchall()
            # Into the file after each step: otherwise the `-wal` grows by all pages before any is returned. PASSIVE
            # does not wait.
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        connection.execute("PRAGMA busy_timeout=1000")  # a reader that goes on must not hold this up for long
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.execute(f"PRAGMA busy_timeout={sqlite_database.PATIENCE * 1000:.0f}")


def _make_incremental(connection: sqlite3.Connection) -> None:
    """Rewrite a journal of an earlier release, if that is quick and there is space: it blocks other writers."""
    used = (_pragma(connection, "page_count") - _pragma(connection, "freelist_count")) * _pragma(
        connection, "page_size"
    )
    # VACUUM writes a copy into a temporary file, and then all of it into the `-wal`, before the file shrinks.
    if used <= REWRITTEN and _free_on_disk(connection) > 3 * used + GIVEN_BACK:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("VACUUM")


def _unused(connection: sqlite3.Connection) -> int:
    return _pragma(connection, "freelist_count") * _pragma(connection, "page_size")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _free_on_disk(connection: sqlite3.Connection) -> int:
    found = os.statvfs(os.path.dirname(sqlite_database.path_of(connection)))
    return found.f_bavail * found.f_frsize
