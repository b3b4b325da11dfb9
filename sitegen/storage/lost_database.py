"""Detects lost state: an empty or missing database is not accepted as a new one if one was in use before."""

import os
from contextlib import suppress
from pathlib import Path

from schemas import sqlite_database
from schemas.regular_files import read_regular, regular
from sitegen.storage.database import StoreError

_SERVER_MARK = "postgresql-mark"

_OWN_HEAD = b'"Skipjack '
"""Text near the beginning of a `status.json` that Skipjack wrote."""


def require_file(file: Path, site_dir: str = "") -> None:
    """Raise StoreError if SQLite's file cannot be the one that was in use. Creates nothing."""
    try:
        fault = sqlite_database.fault(str(file), lambda: _traces(file, site_dir))
    except OSError:
        return  # opening the file reports the error
    if fault:
        raise lost_file(file, fault, site_dir)


def _traces(file: Path, site_dir: str) -> list[str]:
    """Return files that show that SQLite's file was in use, also with releases that wrote no marks.

    The publisher creates them after it has opened the database. With PostgreSQL they prove nothing.
    """
    if (file.parent / _SERVER_MARK).exists():
        return []
    status = Path(site_dir) / "status.json"
    found = [path for path in (file.parent / "checkout", file.parent / "publish.lock") if os.path.lexists(path)]
    return [str(path) for path in (*found, *([status] if site_dir and _is_generated(status) else []))]


def _is_generated(status: Path) -> bool:
    try:
        # Opening a named pipe would wait for a writer.
        if not status.is_file():
            return False
        with status.open("rb") as file:
            return _OWN_HEAD in file.read(200)
    except OSError:
        return False


def lost_file(file: Path, fault: str, site_dir: str = "") -> StoreError:
    """Return the error for a file that cannot be the one that was in use."""
    return StoreError(
        f"cannot use the database `{file}`: {fault}.",
        "Stop the manager, move every `manager.db-*` away and restore a backup: workers send reports again that it "
        "lacks. To start with an empty database instead, without tokens, commands and history, "
        f"run `{sqlite_database.removal(str(file), _traces(file, site_dir))}`.",
    )


class FileMark:
    """The file beside SQLite's that marks it as in use."""

    def __init__(self, file: Path, site_dir: str = "") -> None:
        self._file, self._site_dir = file, site_dir

    def require_new(self) -> None:
        """Raise StoreError: a file without Skipjack's tables is from another program, or has lost its content."""
        raise lost_file(self._file, "it has none of Skipjack's tables", self._site_dir)

    def leave(self) -> None:
        """Create the mark if it does not exist."""
        sqlite_database.leave_mark(str(self._file))


class ServerMark:
    """The file in the state directory that names the PostgreSQL database of this manager.

    Without a state directory there is no mark.
    """

    def __init__(self, state_dir: str, place: str) -> None:
        self._file, self._place = Path(state_dir or os.devnull) / _SERVER_MARK, place

    def require_new(self) -> None:
        """Raise StoreError if the database, which is empty, was in use before."""
        try:
            known = read_regular(self._file).decode().splitlines()
        except OSError:
            return
        if self._place in known:
            raise StoreError(
                f"the database `{self._place}` is empty, but it was in use before (`{self._file}` names it).",
                "Check `database.url`, or restore a backup. To start with an empty database instead, without tokens, "
                f"commands and history, run `rm {self._file}`.",
            )

    def leave(self) -> None:
        """Mark the database as in use, if this user may write to the state directory."""
        with suppress(OSError):
            if self._file.exists() and read_regular(self._file).decode().splitlines() == [self._place]:
                return
            with open(self._file, "w", encoding="utf-8", opener=regular) as file:
                file.write(f"{self._place}\n")
                sqlite_database.give_to_owner(file.fileno(), str(self._file))
