"""`skipjack-manager backup FILE`: a copy of the database as of one moment, taken while everything goes on."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from schemas.errors import SkipjackError
from schemas.records import ManagerSettings
from sitegen import output
from sitegen.storage import lost_database, readonly_sqlite
from sitegen.storage.dialects import LOCK_SECONDS, database_file


def backup(settings: ManagerSettings, target: Path) -> None:
    """Write a copy to a file, which is the old or the new one at any moment; SkipjackError says why it cannot be."""
    if settings.database is not None:
        raise SkipjackError(
            "The database is PostgreSQL, which has its own tool.",
            f"Run `pg_dump --format=custom --file={target} --dbname='{settings.database.url}'`.",
        )
    _refuse_place(settings.state_dir, target)
    lost_database.require_file(database_file(settings.state_dir), settings.site_dir)
    aside = target.with_name(f".{target.name}.new")
    try:
        _copy(database_file(settings.state_dir), aside)
        _examine(aside)
        _make_durable(aside)
        aside.replace(target)
        _make_durable(target.absolute().parent)
    except (OSError, sqlite3.Error, UnicodeDecodeError) as error:
        raise SkipjackError(
            f"The backup {target} cannot be made: {error}.",
            f"Check {database_file(settings.state_dir)}, and that the folder of the backup has room and is writable.",
        ) from error
    finally:
        aside.unlink(missing_ok=True)
    output.note(f"{target} holds {target.stat().st_size} bytes and was read back without a fault.")


def _refuse_place(state_dir: str, target: Path) -> None:
    """A manager that serves goes on with the old file when a copy takes its place, and loses all it writes then."""
    if target.name in ("", "..") or target.is_dir():
        raise SkipjackError(f"{target} is a folder.", "Name the file to write.")
    database = database_file(state_dir)
    if target.absolute().parent.resolve() == database.parent.resolve() and target.name.startswith(database.name):
        raise SkipjackError(f"{target} belongs to the database itself.", "Name another file, best on another disk.")


def _copy(source: Path, target: Path) -> None:
    """Copy what one reading transaction sees; writers go on meanwhile. Nobody else may read it: it has the tokens."""
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    with (
        readonly_sqlite.readable(source, "rw") as address,
        closing(sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS)) as connection,
    ):
        connection.execute("VACUUM INTO ?", (str(target),))


def _examine(copy: Path) -> None:
    with closing(sqlite3.connect(f"{copy.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        connection.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchone()
    if found != ["ok"]:
        raise sqlite3.DatabaseError(f"the copy is damaged ({found[0]})")


def _make_durable(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
