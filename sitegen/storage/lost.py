"""Refusing a database whose state is lost: an empty or missing one where there was one is never taken for a new one."""

import os
from contextlib import suppress
from pathlib import Path

from schemas import presence
from sitegen.storage.database import StoreError

_SERVER_MARK = "postgresql-mark"


def require_file(file: Path) -> None:
    """StoreError when SQLite's file cannot be the one that was there; nothing is made."""
    try:
        fault = presence.fault(str(file))
    except OSError:
        return  # whoever opens the file says what is wrong with it
    if fault:
        raise lost_file(file, fault)


def lost_file(file: Path, fault: str) -> StoreError:
    """What to say of a file that is not, or cannot be, what was there."""
    return StoreError(
        f"The database {file} cannot be used: {fault}.",
        "Stop the manager and put a backup in its place: workers send again what it does not know. To start anew "
        f"instead, without tokens, commands and history, run `{presence.removal(str(file))}`.",
    )


class FileMark:
    """The file beside SQLite's that tells that it is in use."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def require_new(self) -> None:
        """StoreError: a file without our tables was made by another program, or lost what it held."""
        raise lost_file(self._file, "it has none of Skipjack's tables")

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
            known = self._file.read_text(encoding="utf-8").splitlines()
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
            if self._file.exists() and self._file.read_text(encoding="utf-8").splitlines() == [self._place]:
                return
            self._file.write_text(f"{self._place}\n", encoding="utf-8")
