"""Copies of the pattern files of one attempt: rsync reads exactly the bytes that were judged.

Only the worker's user can write them, so they stay as they are until rsync opens them.
"""

import contextlib
import os
from collections.abc import Collection

from runner.base import pattern_files
from runner.base.pattern_files import Judge, Unsafe
from schemas.regular_files import read_regular, too_large

MOST = 256 * 1024**2
"""Size in bytes of all pattern files of an attempt together: those who may write them must not fill our disk."""

_PIECE = 1024**2
_FOR_ALL = 0o004


class CannotCopy(Exception):  # noqa: N818 - a problem of the machine, not of the file
    """The copy could not be written; the message says why."""


class PatternCopies:
    """The copies of one attempt, in a folder of their own.

    `of_patterns` and `of_passwords` judge a file with patterns, and one with a password.
    """

    def __init__(self, folder: str, of_patterns: Judge, of_passwords: Judge) -> None:
        self._folder = folder
        self._judges = (of_patterns, of_passwords)
        self._copies: dict[str, str] = {}
        self._passwords: set[str] = set()
        self._judged: set[tuple[str, str]] = set()
        self._left, self._folders = MOST, 0

    def of(self, path: str) -> str:
        """Return the path of a file's copy, or the file's own if it has none."""
        return self._copies.get(path, path)

    def items(self) -> tuple[tuple[str, str], ...]:
        """Return the files with their copies."""
        return tuple(self._copies.items())

    def named_as_before(self, text: str) -> str:
        """Return a text with the files' own paths in the place of those of their copies."""
        for path, copy in self._copies.items():
            text = text.replace(copy, path)
        return text

    def add(self, path: str, modifiers: str | None = None, *, is_password: bool = False) -> None:
        """Judge a file and copy it, unless the attempt has its copy; `modifiers` are those of the rule that merges it.

        Raises Unsafe if the file may not be sent, OSError with the reason in `strerror` if it cannot be read, and
        CannotCopy.
        """
        if path not in self._copies:
            self._copies[path] = self._copied(path, self._judges[is_password])
            self._passwords |= {path} if is_password else set()
        elif is_password != (path in self._passwords):
            raise Unsafe("is named both for patterns and for a password")
        if modifiers is not None and (path, modifiers) not in self._judged:
            # The copy is judged, not the file, whose content may be another one by now.
            content = read_regular(self._copies[path], pattern_files.MOST_RULES)
            if why := pattern_files.rule_fault(content, modifiers):
                raise Unsafe(why)
            self._judged.add((path, modifiers))

    def remove(self) -> None:
        """Remove all copies."""
        if self._folders:
            self._copies, self._judged, self._passwords = {}, set(), set()
            self._left, self._folders = MOST, 0
            clear(self._folder)

    def _copied(self, path: str, judge: Judge) -> str:
        with pattern_files.opened(path, judge) as source:
            # The copy has the file's name, because a rule can exclude the file that it merges by its name.
            copy = os.path.join(self._new_folder(), os.path.basename(path))
            # A program that runs rsync as another user can read what every user can read.
            mode = 0o644 if os.fstat(source).st_mode & _FOR_ALL else 0o600
            try:
                target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
            except OSError as error:
                raise _cannot_copy(self._folder, error) from error
            try:
                self._fill(source, target, path)
            finally:
                os.close(target)
        return copy

    def _fill(self, source: int, target: int, path: str) -> None:
        while data := os.read(source, _PIECE):
            self._left -= len(data)
            if self._left < 0:
                raise too_large(path, MOST)
            try:
                while data:
                    data = data[os.write(target, data) :]
            except OSError as error:
                raise _cannot_copy(self._folder, error) from error

    def _new_folder(self) -> str:
        folder = os.path.join(self._folder, str(self._folders))
        try:
            if not self._folders:
                clear(self._folder)  # a killed run leaves its copies behind
                os.makedirs(os.path.dirname(self._folder), mode=0o711, exist_ok=True)
                os.mkdir(self._folder, 0o711)
            os.mkdir(folder, 0o711)
        except OSError as error:
            raise _cannot_copy(self._folder, error) from error
        self._folders += 1
        return folder


def clear(folder: str) -> None:
    """Remove a folder of copies; what cannot be removed stays for the next time."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            below = os.path.join(folder, name)
            for file in os.listdir(below):
                os.unlink(os.path.join(below, file))
            os.rmdir(below)
        os.rmdir(folder)


def forget(folder: str, kept: Collection[str]) -> None:
    """Remove the copies of all mirrors that are not `kept`: killed runs leave them behind."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name not in kept:
                clear(os.path.join(folder, name))


def _cannot_copy(folder: str, error: OSError) -> CannotCopy:
    return CannotCopy(f"cannot copy it to {folder}: {error.strerror}")
