"""Read the journal without changing it, also as a user who may not write it.

In WAL mode SQLite creates files beside a database as soon as it reads. With `immutable` it does not, but then ignores
the changes that a killed process has left beside the journal. So that is only for a journal that no process has open.
"""

import contextlib
import os
import sqlite3

from schemas import sqlite_database


def copied_at_rest(path: str, copy: sqlite3.Connection) -> bool:
    """Copy a journal that no process has open, without creating files beside it; False if one had it open."""
    before = _at_rest(path)
    if before is None:
        return False
    # `immutable` also skips SQLite's locks, so the file may change during the copy: it is compared afterwards.
    with contextlib.closing(sqlite_database.connect(path, "mode=ro&immutable=1")) as source:
        try:
            source.backup(copy)
        except sqlite3.DatabaseError:
            if _at_rest(path) == before:
                raise
            return False
    return _at_rest(path) == before


def _at_rest(path: str) -> tuple[int, int] | None:
    """Return the journal's modification time and size; None if a process may have it open, or died with it open."""
    if _has_changes_beside(path):
        return None
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size


def _has_changes_beside(path: str) -> bool:
    """Return whether the file alone may be inconsistent: a `-wal` has later changes, a `-journal` earlier pages."""
    return os.path.exists(f"{path}-wal") or os.path.exists(f"{path}-journal")


def connected(path: str) -> sqlite3.Connection:
    """Open the journal read-only; without the right to write its folder that works while no process has it open.

    An interrupted transaction outside WAL mode is rolled back first, since SQLite reads nothing before that.
    """
    try:
        return _connected(path, "mode=ro")
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_READONLY_ROLLBACK:
            return _connected(path, "mode=rw")
        if _has_changes_beside(path):
            raise
    return _connected(path, "mode=ro&immutable=1")


def _connected(path: str, how: str) -> sqlite3.Connection:
    connection = sqlite_database.connect(path, how)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection
