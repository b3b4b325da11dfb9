"""TOML with the line of every value, which the standard library's reader does not tell."""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.errors import SkipjackError
from schemas.problems import printable

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_STRING = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?'{3,5}|"(?:[^"\\]|\\.)*"|'[^']*\'''',
    re.DOTALL,
)
_OTHER = re.compile(r"[^,\]}#\n]*")
_PLACE = re.compile(r" \(at (?:line (?P<line>[0-9]+), column (?P<column>[0-9]+)|end of document)\)$")


class Source(NamedTuple):
    """A TOML file's value, and the line of each thing in it by its path."""

    file: str
    value: dict[str, Any]
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of what is at `path`, or of the nearest thing above it that has one."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


def read(path: str) -> Source:
    """Read a TOML file; SkipjackError with the line when it is broken."""
    file = printable(path)
    with open(path, "rb") as opened:
        data = opened.read()
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
        value = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SkipjackError(f"{file}:{line}: The file is not UTF-8 text.", "Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise _broken(file, text, str(error)) from error
    except RecursionError as error:
        raise SkipjackError(f"{file}:1: The file is nested too deeply.", "Write fewer levels.") from error
    return Source(file, value, _Scanner(text).lines)


def _broken(file: str, text: str, message: str) -> SkipjackError:
    place = _PLACE.search(message)
    line = int(place["line"]) if place and place["line"] else text.count("\n") + 1
    column = f" at column {place['column']}" if place and place["column"] else ""
    words = printable(_PLACE.sub("", message))
    return SkipjackError(f"{file}:{line}: This is no valid TOML{column}: {words}.", "Mend the syntax near this place.")


class _Scanner:
    """Walks through a text that is known to be valid TOML and notes where things begin."""

    def __init__(self, text: str) -> None:
        self.lines: dict[Path, int] = {(): 1}
        self._text = text
        self._at = 0
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._lengths: dict[Path, int] = {}
        self._document()

    def _document(self) -> None:
        table: Path = ()
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BLANK)

    def _header(self) -> Path:
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        line = self._line()
        self._at += brackets
        *above, last = self._dotted()
        path: Path = ()
        for key in above:
            path = self._newest((*path, key))
        path = (*path, last)
        if brackets == 2:
            self._lengths[path] = self._lengths.get(path, 0) + 1
            self.lines.setdefault(path, line)
        self._at += brackets
        path = self._newest(path)
        self.lines[path] = line
        return path

    def _newest(self, path: Path) -> Path:
        """A table that a header names: the last one of them where there are many."""
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for key in self._dotted():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        self._skip(_BLANK)
        if self._text[self._at] == "[":
            self._items(path)
        elif self._text[self._at] == "{":
            self._inline(path)
        elif not self._skip(_STRING):
            self._skip(_OTHER)

    def _items(self, path: Path) -> None:
        number = 0
        while self._next("]"):
            self.lines[*path, number] = self._line()
            self._value((*path, number))
            number += 1

    def _inline(self, path: Path) -> None:
        while self._next("}"):
            self._pair(path)

    def _next(self, end: str) -> bool:
        """Go from the opening bracket or a comma to what follows; False and past the end where nothing does."""
        self._skip(_BLANK)
        if self._text[self._at] != end:
            self._at += 1
            self._skip(_BLANK)
        more = self._text[self._at] != end
        self._at += not more
        return more

    def _dotted(self) -> list[str]:
        keys = []
        while True:
            self._skip(_BLANK)
            word = self._skip(_KEY)
            keys.append(word if word[0] not in "\"'" else tomllib.loads(f"key = {word}")["key"])
            self._skip(_BLANK)
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _line(self) -> int:
        return bisect_left(self._breaks, self._at) + 1
