"""Copies of the journal that are kept before a migration, for a downgrade to the release that wrote it."""

import contextlib
import os
import sqlite3

from runner.journal import readonly_copy
from schemas import sqlite_database
from schemas.errors import SkipjackError


def path_of(path: str, version: int) -> str:
    """Return the path of the journal's backup before its tables of that version are migrated."""
    return f"{path}-of-version-{version}"


def newest(path: str, version: int) -> str | None:
    """Return the path of the newest backup with tables of that version or an older one; None if there is none."""
    kept = (path_of(path, each) for each in range(version, 0, -1))
    return next((each for each in kept if os.path.exists(each)), None)


def make(connection: sqlite3.Connection, version: int) -> None:
    """Back up an open journal with tables of that version.

    No other process writes meanwhile, since the transaction of the migration has begun. SkipjackError if the disk is
    full.
    """
    path = sqlite_database.path_of(connection)
    target = path_of(path, version)
    aside = f"{target}.new"
    try:
        sqlite_database.remove(aside)  # left by one that was killed
        # Through a connection of its own, since VACUUM does not work within a transaction. It reads what was committed,
        # also in the `-wal` file, which a copy of the file would lack.
        with contextlib.closing(readonly_copy.connected(path)) as source:
            source.execute("VACUUM INTO ?", (aside,))
        with contextlib.closing(sqlite_database.connect(aside, "mode=rw")) as copy:
            copy.execute("PRAGMA journal_mode=WAL")  # which VACUUM INTO does not keep, and earlier releases do not set
        os.chmod(aside, os.stat(path).st_mode & 0o777)
        sqlite_database.replace(aside, target)
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or error
        what = f"cannot back up the journal {path} to {target}, so it was not migrated to this release: {why}."
        todo = "Check whether the disk is full or read-only; the earlier release still works."
        raise SkipjackError(what, todo) from error
