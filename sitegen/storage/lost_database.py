"""Refusing a database whose state is lost: an empty or missing one where there was one is never taken for a new one."""

import os
from contextlib import suppress
from pathlib import Path

from schemas import presence
from schemas.regular_files import read_regular, regular
from sitegen.storage.database import StoreError

_SERVER_MARK = "postgresql-mark"

_OWN_HEAD = b'"Skipjack '
"""What stands near the beginning of our `status.json`: the program that made it."""


def require_file(file: Path, site_dir: str = "") -> None:
    """StoreError when SQLite's file cannot be the one that was there; nothing is made."""
    try:
        fault = presence.fault(str(file), lambda: _traces(file, site_dir))
    except OSError:
        return  # whoever opens the file says what is wrong with it
    if fault:
        raise lost_file(file, fault, site_dir)


def _traces(file: Path, site_dir: str) -> list[str]:
    """Files that show that SQLite's file was in use, also where a release without marks wrote them.

    The publisher makes them, once it has opened the database. Beside one of PostgreSQL they show nothing.
    """
    if (file.parent / _SERVER_MARK).exists():
        return []
    status = Path(site_dir) / "status.json"
    found = [path for path in (file.parent / "checkout", file.parent / "publish.lock") if os.path.lexists(path)]
    return [str(path) for path in (*found, *([status] if site_dir and _is_ours(status) else []))]


def _is_ours(status: Path) -> bool:
    try:
        if not status.is_file():
            return False
        with status.open("rb") as file:
            return _OWN_HEAD in file.read(200)
    except OSError:
        return False


def lost_file(file: Path, fault: str, site_dir: str = "") -> StoreError:
    """What to say of a file that is not, or cannot be, what was there."""
    return StoreError(
        f"The database {file} cannot be used: {fault}.",
        "Stop the manager, move every `manager.db-*` away and put a backup in its place: workers send again what it "
        "does not know. To start anew instead, without tokens, commands and history, "
        f"run `{presence.removal(str(file), _traces(file, site_dir))}`.",
    )


class FileMark:
    """The file beside SQLite's that tells that it is in use."""

    def __init__(self, file: Path, site_dir: str = "") -> None:
        self._file, self._site_dir = file, site_dir

    def require_new(self) -> None:
        """StoreError: a file without our tables was made by another program, or lost what it held."""
        raise lost_file(self._file, "it has none of Skipjack's tables", self._site_dir)

    def leave(self) -> None:
        """Leave the mark, if it is not there yet."""
        presence.leave_mark(str(self._file))


class ServerMark:
    """The file in the state directory that names the PostgreSQL database which this manager uses.

    Who opens a database without a state directory leaves none.
    """

    def __init__(self, state_dir: str, place: str) -> None:
        self._file, self._place = Path(state_dir or os.devnull) / _SERVER_MARK, place

    def require_new(self) -> None:
        """StoreError when the database, which is empty, was in use before."""
        try:
            known = read_regular(self._file).decode().splitlines()
        except OSError:
            return
        if self._place in known:
            raise StoreError(
                f"The database {self._place} is empty, though it was in use ({self._file} names it).",
                "Check `database.url`, or put a backup back. To start anew instead, without tokens, commands and "
                f"history, run `rm {self._file}`.",
            )

    def leave(self) -> None:
        """Note that the database is in use, if this user may write into the state directory."""
        with suppress(OSError):
            if self._file.exists() and read_regular(self._file).decode().splitlines() == [self._place]:
                return
            with open(self._file, "w", encoding="utf-8", opener=regular) as file:
                file.write(f"{self._place}\n")
                presence.give_to_owner(file.fileno(), str(self._file))
