"""Read TOML with the line of each value and with its comments, which the standard library does not return."""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from schemas.errors import SkipjackError
from schemas.problems import printable
from schemas.regular_files import read_regular

TomlPath = tuple[str | int, ...]


class Comment(NamedTuple):
    """A comment without its `#`, and its line."""

    line: int
    text: str


Comments = Mapping[int, Sequence[Comment]]

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_COMMENT = re.compile(r"#([^\n]*)")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_STRING = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?'{3,5}|"(?:[^"\\]|\\.)*"|'[^']*\'''',
    re.DOTALL,
)
_OTHER = re.compile(r"[^,\]}#\n]*")
_PLACE = re.compile(r" \(at (?:line (?P<line>[0-9]+), column (?P<column>[0-9]+)|end of document)\)$")


class Source(NamedTuple):
    """The value of a TOML file, the line of each part by its path, and its comments.

    The keys of `comments` are the lines of the headers or keys that they describe, those of `loose_comments` the first
    lines of comments that stand alone.
    """

    file: str
    value: dict[str, Any]
    lines: Mapping[TomlPath, int]
    comments: Comments
    loose_comments: Comments

    def line(self, path: TomlPath) -> int:
        """Return the line of the value at `path`, or of the nearest one above that has a line."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]


_MOST = 64 * 1024**2
"""Most bytes that are read; configurations with thousands of mirrors have about one MB."""


def read(path: str) -> Source:
    """Read a TOML file; SkipjackError if it cannot be read, or with the line if it is invalid."""
    file = printable(path)
    try:
        data = read_regular(path, _MOST)
    except OSError as error:
        raise SkipjackError(f"cannot read {file}: {error.strerror}.", "Check the path and its owner.") from error
    try:
        # tomllib rejects a byte order mark, which some editors write, and changes line ends itself: the scanner must
        # see the same text.
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
        value = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise SkipjackError(f"{file}:{line}: The file is not UTF-8 text.", "Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise _broken(file, text, str(error)) from error
    except RecursionError as error:
        raise SkipjackError(f"{file}:1: The file is nested too deeply.", "Write fewer levels.") from error
    scanner = _Scanner(text)
    return Source(file, value, scanner.lines, *_attach(scanner.comments, scanner.items))


def _broken(file: str, text: str, message: str) -> SkipjackError:
    place = _PLACE.search(message)
    line = int(place["line"]) if place and place["line"] else text.count("\n") + 1
    column = f" at column {place['column']}" if place and place["column"] else ""
    words = printable(_PLACE.sub("", message))
    return SkipjackError(f"{file}:{line}: Invalid TOML{column}: {words}.", "Correct the syntax near this place.")


def _attach(comments: Mapping[int, str], items: Mapping[int, int]) -> tuple[Comments, Comments]:
    """Return the comments by the first line of the item that they describe, and the others by their own lines.

    `items` has the last line of each item by its first. A comment describes the item on whose lines it is; else the
    next one if no blank line is between them; else the previous one, likewise.
    """
    first = {line: begin for begin, end in items.items() for line in range(begin, end + 1)}
    found: dict[int, list[Comment]] = {}
    loose: dict[int, list[Comment]] = {}
    for line in sorted(comments):
        above, below = line, line
        while below in comments and below not in first:
            below += 1
        while above in comments and above not in first:
            above -= 1
        item = first.get(below, first.get(above))
        comment = Comment(line, comments[line])
        (loose.setdefault(above + 1, []) if item is None else found.setdefault(item, [])).append(comment)
    return found, loose


class _Scanner:
    """Walks through a text that is known to be valid TOML and notes where things begin, and comments."""

    def __init__(self, text: str) -> None:
        self.lines: dict[TomlPath, int] = {(): 1}
        self.comments: dict[int, str] = {}
        self.items: dict[int, int] = {}
        """The last line of each header and of each key with its value, by their first lines."""
        self._text = text
        self._at = 0
        self._breaks = [match.start() for match in re.finditer("\n", text)]
        self._lengths: dict[TomlPath, int] = {}
        self._document()

    def _document(self) -> None:
        table: TomlPath = ()
        self._skip_blank()
        while self._at < len(self._text):
            begin = self._line()
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self.items[begin] = self._line()
            self._skip_blank()

    def _header(self) -> TomlPath:
        brackets = 2 if self._text.startswith("[[", self._at) else 1
        line = self._line()
        self._at += brackets
        *above, last = self._dotted()
        path: TomlPath = ()
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

    def _newest(self, path: TomlPath) -> TomlPath:
        """Return the path of the table that a header names: of an array of tables, the last one."""
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _pair(self, table: TomlPath) -> None:
        line = self._line()
        path = table
        for key in self._dotted():
            path = (*path, key)
            self.lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._value(path)

    def _value(self, path: TomlPath) -> None:
        self._skip_blank()
        if self._text[self._at] == "[":
            self._items(path)
        elif self._text[self._at] == "{":
            self._inline(path)
        elif not self._skip(_STRING):
            self._skip(_OTHER)

    def _items(self, path: TomlPath) -> None:
        number = 0
        while self._next("]"):
            self.lines[*path, number] = self._line()
            self._value((*path, number))
            number += 1

    def _inline(self, path: TomlPath) -> None:
        while self._next("}"):
            self._pair(path)

    def _next(self, end: str) -> bool:
        """Go from the opening bracket or a comma to what follows; False and past the end where nothing does."""
        self._skip_blank()
        if self._text[self._at] != end:
            self._at += 1
            self._skip_blank()
        more = self._text[self._at] != end
        self._at += not more
        return more

    def _dotted(self) -> list[str]:
        keys = []
        while True:
            self._skip_blank()
            word = self._skip(_KEY)
            # tomllib knows all escapes of a quoted key.
            keys.append(word if word[0] not in "\"'" else tomllib.loads(f"key = {word}")["key"])
            self._skip_blank()
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _skip_blank(self) -> None:
        begin = self._at
        for comment in _COMMENT.finditer(self._skip(_BLANK)):
            self.comments[bisect_left(self._breaks, begin + comment.start()) + 1] = comment[1].strip()

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        return match[0]

    def _line(self) -> int:
        return bisect_left(self._breaks, self._at) + 1
