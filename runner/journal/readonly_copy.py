"""Reading the journal's file as it stands, also as a user who may not write it.

SQLite makes files beside a journal in WAL mode as soon as it reads. `immutable` keeps it from that, and lets it pass
over what a process that died has left beside the journal: it is only for one that no process has open.
"""

import contextlib
import os
import sqlite3

from runner.journal.sqlite_file import PATIENCE, quoted


def copied_at_rest(path: str, copy: sqlite3.Connection) -> bool:
    """Copy a journal that no process has open, without making files beside it; False when it was not at rest."""
    before = _at_rest(path)
    if before is None:
        return False
    with contextlib.closing(sqlite3.connect(f"file:{quoted(path)}?mode=ro&immutable=1", uri=True)) as source:
        try:
            source.backup(copy)
        except sqlite3.DatabaseError:
            if _at_rest(path) == before:
                raise
            return False
    return _at_rest(path) == before


def _at_rest(path: str) -> tuple[int, int] | None:
    """When the journal was changed, and its size; None while a process may have it open, or died with it open."""
    if _has_changes_beside(path):
        return None
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size


def _has_changes_beside(path: str) -> bool:
    """Whether the file itself may not be whole: `-journal` holds what it was before a transaction, outside WAL mode."""
    return os.path.exists(f"{path}-wal") or os.path.exists(f"{path}-journal")


def connected(path: str) -> sqlite3.Connection:
    """Open the journal for reading alone; without a right to write its folder that is possible while it is at rest.

    A transaction in which a process died, outside WAL mode, is rolled back first: SQLite reads nothing before that.
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
    connection = sqlite3.connect(f"file:{quoted(path)}?{how}", uri=True, timeout=PATIENCE, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection
