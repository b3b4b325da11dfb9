"""Which regular expressions may a plug-in's schema contain?

Anyone who can merge to the config repository can write one there, and each machine and the manager match it. Python's
engine tries all ways to match a text, and their number can grow exponentially with its length: `^(a+)+$` needs years
for 40 letters. No time limit is possible within a process, so the number of ways is limited before a pattern is used.

The bound is simple and strict: each repetition counts as the number of times that it may apply, at most the longest
text (`maxLength`), each alternative as one, and all of them are multiplied. It rejects some harmless patterns, such as
words between commas; a JSON list describes those better.
"""

import re

from schemas.names import NAME_PATTERN
from schemas.units import DURATION_PATTERN, SIZE_PATTERN

LONGEST = 100
"""Characters of a text that has a pattern, unless the schema sets `maxLength`."""

MAX_CHOICES = 12_000
"""Ways to match a text at most; the worst pattern then needs 0.3 ms."""

_MAX_PATTERN, _MAX_GROUPS, _MAX_REPEAT = 200, 10, 1000
_KNOWN = frozenset({DURATION_PATTERN, SIZE_PATTERN, NAME_PATTERN})
"""Patterns of Skipjack's own schemas, which never have two ways to match a text."""

_QUANTIFIER = re.compile(r"[*+?]|\{(\d{1,4})(,\d{0,4})?\}")
_ESCAPE = re.compile(r"\\[dDwWsSnrt]|\\[^\w\s$]")
_SET = re.compile(r"\[\^?(?:\\[dDwWsSnrt]|\\[^\w\s$]|[^\]\[\\$])+\]")
_WARNS = re.compile(r"--|&&|~~|\|\|")
"""Characters in a set on which later releases of Python may put another meaning."""


def problem(pattern: str, longest: int = LONGEST) -> str:
    """Return why a pattern cannot be used for texts of up to `longest` characters; empty if it can."""
    if pattern in _KNOWN:
        return ""
    if len(pattern) > _MAX_PATTERN:
        return f"it is longer than {_MAX_PATTERN} characters"
    if longest > MAX_CHOICES:
        return f"`maxLength` is greater than {MAX_CHOICES}"
    try:
        choices = _Parser(pattern, longest).choices()
        # The parser accepts some patterns that Python rejects, such as `[b-a]`.
        re.compile(pattern)
    except (ValueError, OverflowError, re.error) as error:
        return str(error)
    if choices > MAX_CHOICES:
        return f"it has too many ways to match {longest} characters; lower `maxLength`, or repeat fewer parts"
    return ""


class _Parser:
    """Counts the ways in which a pattern can match; methods return them with the length of the shortest match."""

    def __init__(self, pattern: str, longest: int) -> None:
        self._pattern, self._longest = pattern, longest
        self._place = self._depth = 0

    def choices(self) -> int:
        """Return the number of ways. Raises ValueError for what is not supported."""
        found, _least = self._alternatives()
        if self._place < len(self._pattern):
            raise ValueError("a parenthesis is closed that was not opened")
        # Unless `^` binds the whole pattern to the start, a match may begin at each character.
        return _limited(found * (1 if self._pattern.startswith("^") and "|" not in self._pattern else self._longest))

    def _alternatives(self) -> tuple[int, int]:
        branches = [self._sequence()]
        while self._next() == "|":
            self._place += 1
            branches.append(self._sequence())
        return _limited(sum(ways for ways, _least in branches)), min(least for _ways, least in branches)

    def _sequence(self) -> tuple[int, int]:
        ways, least = 1, 0
        while self._next() not in ("", "|", ")"):
            more, length = self._repeated(*self._atom())
            ways, least = _limited(ways * more), least + length
        return ways, least

    def _next(self) -> str:
        return self._pattern[self._place : self._place + 1]

    def _atom(self) -> tuple[int, int]:
        first = self._next()
        if first == "(":
            return self._group()
        if first in "^$":
            self._place += 1
            return 1, 0
        if first in "\\[":
            self._take(_ESCAPE if first == "\\" else _SET)
        elif first in "*+?{}]":
            raise ValueError(f"`{first}` must be escaped, or follow what it repeats")
        else:
            self._place += 1
        return 1, 1

    def _take(self, wanted: "re.Pattern[str]") -> None:
        match = wanted.match(self._pattern, self._place)
        if match is None or (match[0][0] == "[" and _WARNS.search(match[0])):
            raise ValueError(f"`{self._pattern[self._place :][:10]}` is not supported")
        self._place = match.end()

    def _group(self) -> tuple[int, int]:
        self._place += 3 if self._pattern.startswith("(?:", self._place) else 1
        self._depth += 1
        if self._next() == "?" or self._depth > _MAX_GROUPS:
            raise ValueError("only `(…)` and `(?:…)` are supported as groups, up to 10 in each other")
        found = self._alternatives()
        if self._next() != ")":
            raise ValueError("a parenthesis is not closed")
        self._place += 1
        self._depth -= 1
        return found

    def _repeated(self, ways: int, least: int) -> tuple[int, int]:
        match = _QUANTIFIER.match(self._pattern, self._place)
        if match is None:
            return ways, least
        self._place = match.end()
        if least == 0:
            raise ValueError("a part that can be empty is repeated")
        low, high = _range(match)
        if self._next() in tuple("*+?{") or low > _MAX_REPEAT or (high or 0) > _MAX_REPEAT:
            raise ValueError(f"`{match[0]}{self._next()}` is not supported")
        most = self._longest if high is None else min(high, self._longest)
        # 16 is enough: with two ways each, 16 repetitions exceed MAX_CHOICES.
        return _limited(sum(_limited(ways ** min(times, 16)) for times in range(low, most + 1))), least * low


def _range(match: "re.Match[str]") -> tuple[int, int | None]:
    """Return how often a quantifier repeats a part: at least, and at most (None without a limit)."""
    simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
    if match[0] in simple:
        return simple[match[0]]
    low = int(match[1])
    if match[2] is None:
        return low, low
    return low, int(match[2][1:]) if match[2][1:] else None


def _limited(ways: int) -> int:
    """Return a number of ways; a number above the limit need not be exact, but small."""
    return max(1, min(ways, MAX_CHOICES + 1))
