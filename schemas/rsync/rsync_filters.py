"""Parse a filter rule as rsync does: which kind is it, and does rsync read a file for it?"""

from typing import NamedTuple

MERGE, DIR_MERGE = ".", ":"

SENT_FILES = frozenset({"--exclude-from", "--include-from", "--files-from"})
"""Options whose files rsync reads and sends to the server."""

_NAMES = {
    "clear": "!", "dir-merge": ":", "exclude": "-", "hide": "H", "include": "+", "merge": ".", "protect": "P",
    "risk": "R", "show": "S",
}  # fmt: skip
_KINDS = frozenset("!:.+-HPRS")
_INITIALS = frozenset(name[0] for name in _NAMES)
_BLANKS = " \t\n\v\f\r"


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


def sent_file(option: str, value: str | None) -> str:
    """Return the file that rsync reads and sends to the server, for an option by its long name; empty if none."""
    if option in SENT_FILES and value != "-":
        return str(value)
    rule = read(str(value)) if option == "--filter" else None
    return rule.pattern if rule is not None and rule.kind == MERGE and not rule.reads_folders else ""


def _kind(text: str) -> tuple[str, str]:
    """Return the kind's letter and the rest, without a `,` before the modifiers."""
    if text[:1] not in _INITIALS:
        return text[:1], text[1:].removeprefix(",")
    name = next((name for name in _NAMES if text.startswith(name)), "")
    after = text[len(name) :]
    if not name or after[:1] not in ("", "_", ",", *_BLANKS):
        return "", text
    return _NAMES[name], after.removeprefix(",")
