"""Parse a filter rule as rsync does: which kind is it, and does rsync read a file for it?"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from schemas.rsync import rsync_options

MERGE, DIR_MERGE = ".", ":"

_NAMES = {
    "clear": "!", "dir-merge": ":", "exclude": "-", "hide": "H", "include": "+", "merge": ".", "protect": "P",
    "risk": "R", "show": "S",
}  # fmt: skip
_KINDS = frozenset("!:.+-HPRS")
_INITIALS = frozenset(name[0] for name in _NAMES)
_BLANKS = " \t\n\v\f\r"

_PLAIN, _SPLIT = frozenset("+-"), "w"
"""Modifiers of a rule that merges a file: its lines are patterns without prefixes; each word of it is a rule."""

_WORD = re.compile(r"\S+")


class Rule(NamedTuple):
    """A rule: its one-letter kind (empty if it is invalid), its modifiers, and its pattern or file."""

    kind: str
    modifiers: str
    pattern: str

    @property
    def reads_folders(self) -> bool:
        """Return whether rsync searches for a file of rules in the folders that it syncs, or in its user's home."""
        return self.kind == DIR_MERGE or "C" in self.modifiers


def read(text: str) -> Rule:
    """Parse the value of `--filter`. Never raises; an invalid rule has an empty kind."""
    kind, rest = _kind(text)
    if kind not in _KINDS:
        return Rule("", "", text)
    if kind == "!":
        return Rule(kind, "", rest)
    end = next((place for place, sign in enumerate(rest) if sign in " _"), len(rest))
    return Rule(kind, rest[:end], rest[end + 1 :])


class SentFile(NamedTuple):
    """A file that rsync reads and sends to the server, and the modifiers of the rule that merges it; None without one.

    Without a rule the file is a plain list: its lines can begin with `+` or `-`, and are not rules of another kind.
    """

    path: str
    modifiers: str | None


def sent_file(option: str, value: str | None) -> SentFile | None:
    """Return the file that rsync reads and sends to the server, for an option by its long name."""
    if (path := rsync_options.file_of(option, value, rsync_options.SENT)) is not None:
        return SentFile(path, None)
    rule = read(str(value)) if option == "--filter" else None
    if rule is None or rule.kind != MERGE or rule.reads_folders or not rule.pattern:
        return None
    return SentFile(rule.pattern, rule.modifiers)


def rules_that_read(content: str, modifiers: str) -> Iterator[str]:
    """Yield the rules in the content of a merged file for which rsync reads a further file.

    `modifiers` are those of the rule that merges it. Its lines end at a zero byte instead with `--from0`, so a rule is
    searched after each of the characters that can end a line.
    """
    if set(modifiers) & _PLAIN:
        return
    for line in re.split("[\n\r\0]", content):
        starts = [found.start() for found in _WORD.finditer(line)] if _SPLIT in modifiers else [0]
        for start in starts:
            rule = read(line[start:])
            if rule.kind == MERGE or rule.reads_folders:
                yield line[start:]


def _kind(text: str) -> tuple[str, str]:
    """Return the kind's letter and the rest, without a `,` before the modifiers."""
    # No long name of a kind begins like this, so the character is the kind itself.
    if text[:1] not in _INITIALS:
        return text[:1], text[1:].removeprefix(",")
    name = next((name for name in _NAMES if text.startswith(name)), "")
    after = text[len(name) :]
    if not name or after[:1] not in ("", "_", ",", *_BLANKS):
        return "", text
    return _NAMES[name], after.removeprefix(",")
