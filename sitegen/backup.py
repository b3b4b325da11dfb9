"""`skipjack-manager backup FILE`: a consistent copy of the SQLite database, taken while it is in use."""

import sqlite3
from contextlib import closing
from pathlib import Path

from schemas import sqlite_database
from schemas.errors import SkipjackError
from schemas.records import ManagerSettings
from sitegen import output
from sitegen.storage import lost_database, readonly_sqlite
from sitegen.storage.dialects import database_file


def backup(settings: ManagerSettings, target: Path) -> None:
    """Replace a file by a copy of the database, atomically; SkipjackError when that fails."""
    if settings.database is not None:
        raise SkipjackError(
            "this command copies SQLite databases only: the settings name PostgreSQL.",
            f"Run `pg_dump --format=custom --file={target} --dbname='{settings.database.url}'`.",
        )
    _refuse_place(settings.state_dir, target)
    lost_database.require_file(database_file(settings.state_dir), settings.site_dir)
    # In the folder of the target, because a rename works within one file system only.
    aside = target.with_name(f".{target.name}.new")
    try:
        _copy(database_file(settings.state_dir), aside)
        _verify(aside)
        sqlite_database.replace(str(aside), str(target))
    # UnicodeDecodeError: SQLite's message about a damaged schema contains the damaged name.
    except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
        raise SkipjackError(
            f"cannot write the backup `{target}`: {getattr(error, 'strerror', None) or error}.",
            f"Check `{database_file(settings.state_dir)}`, and that the backup's folder has room and is writable.",
        ) from error
    finally:
        aside.unlink(missing_ok=True)
    output.note(f"Wrote {target} ({target.stat().st_size} bytes) and verified it.")


def _refuse_place(state_dir: str, target: Path) -> None:
    """Raise SkipjackError for a target that must not be replaced.

    A running manager would keep writing to the old file behind a replaced database, and lose those writes.
    """
    if target.name in ("", "..") or target.is_dir():
        raise SkipjackError(f"cannot write the backup: `{target}` is a folder.", "Name a file.")
    database = database_file(state_dir)
    # Also `manager.db-wal` and the like, which SQLite would take for a part of its database.
    if target.absolute().parent.resolve() == database.parent.resolve() and target.name.startswith(database.name):
        what = f"cannot write the backup: `{target}` belongs to the database."
        raise SkipjackError(what, "Name another file, best on another disk.")


def _copy(source: Path, target: Path) -> None:
    """Copy what one read transaction sees, without stopping writers. Mode 600: the file has the tokens' digests."""
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    with (
        readonly_sqlite.readable(source, "rw") as address,
        closing(sqlite_database.connect_address(address)) as connection,
    ):
        # Unlike a copy of the file this has the changes of the write-ahead log, and no free pages.
        connection.execute("VACUUM INTO ?", (str(target),))


def _verify(copy: Path) -> None:
    """Raise sqlite3.Error unless a copy is an intact database of the manager."""
    with closing(sqlite_database.connect(str(copy), "mode=ro")) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        # An empty file passes the integrity check, so a table of the manager has to be there as well.
        connection.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchone()
    if found != ["ok"]:
        raise sqlite3.DatabaseError(f"the copy is damaged ({found[0]})")
