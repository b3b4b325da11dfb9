"""Values of tunasync's options in the forms that Skipjack has for them, and what to tell about some."""

import os
from collections.abc import Iterator, Mapping, Sequence

from runner.importing.definitions import Value
from runner.importing.findings import Finding
from runner.importing.options import memory
from schemas.addresses import holds_password
from schemas.config import shell_doubts

_MOST_TRIES = 99


def size(text: object) -> str | None:
    """An amount of memory in the largest unit that divides it; None for 0, which is no limit."""
    count = memory(str(text)) or 0
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if count and count % 1024**power == 0:
            return f"{count // 1024**power}{unit}"
    return f"{count}B" if count else None


def has_password(value: object) -> bool:
    """Whether an address with a password in it stands anywhere in a value."""
    if isinstance(value, str):
        return holds_password(value)
    if isinstance(value, Mapping):
        return any(map(has_password, value.values()))
    return isinstance(value, list) and any(map(has_password, value))


def exit_codes(place: Value, findings: list[Finding]) -> list[int]:
    """The codes with which a process can end, each once; 0 goes without saying."""
    if any(code not in range(256) for code in place.value):
        findings.append(place.finding("No program ends with a code outside of 1 to 255.", "Look up what was meant."))
    return [code for code in dict.fromkeys(place.value) if code in range(1, 256)]


def runs_backwards(commands: Sequence[str], place: Value) -> Iterator[Finding]:
    """A word about the order of a list of commands."""
    if len(commands) > 1:
        what = "tunasync runs these commands last to first, Skipjack in the order of the list."
        yield place.finding(what, "Turn the list round if the order matters.")


def doubts(option: str, place: Value) -> Iterator[Finding]:
    """A word about command lines that may have been written for a shell."""
    lines = place.value if isinstance(place.value, list) else [place.value]
    for what, todo in shell_doubts.of_lines(option, lines):
        yield place.finding(what, todo)


def tries(place: Value, findings: list[Finding]) -> int:
    """How many times a run tries."""
    if place.value > _MOST_TRIES:
        findings.append(place.finding(f"A run tries {_MOST_TRIES} times at most.", "See whether that will do."))
    return min(_MOST_TRIES, int(place.value))


def lies_below(path: str, root: str) -> bool:
    """Whether one absolute path is below another, by their letters."""
    path, root = os.path.normpath(path), os.path.normpath(root)
    return path != root and os.path.commonpath([path, root]) == root
