"""Convert values of tunasync's options to the forms that Skipjack uses, with findings about some."""

import os
from collections.abc import Iterator, Mapping, Sequence

from runner.importing.definitions import Value
from runner.importing.findings import Finding
from runner.importing.options import memory
from schemas.addresses import holds_password
from schemas.config import shell_doubts

# The maximum in the schema of mirrors.
_MOST_TRIES = 99


def size(text: object) -> str | None:
    """Return an amount of memory in the largest unit that divides it; None for 0, which means unlimited."""
    count = memory(str(text)) or 0
    for power, unit in ((3, "GiB"), (2, "MiB"), (1, "KiB")):
        if count and count % 1024**power == 0:
            return f"{count // 1024**power}{unit}"
    return f"{count}B" if count else None


def has_password(value: object) -> bool:
    """Return whether a value contains an address with a password."""
    if isinstance(value, str):
        return holds_password(value)
    if isinstance(value, Mapping):
        return any(map(has_password, value.values()))
    return isinstance(value, list) and any(map(has_password, value))


def exit_codes(place: Value, findings: list[Finding]) -> list[int]:
    """Return the valid exit codes, each once and without 0, which is always a success."""
    if any(code not in range(256) for code in place.value):
        findings.append(
            place.finding("Exit codes are from 0 to 255; others were left out.", "Check which ones were meant.")
        )
    return [code for code in dict.fromkeys(place.value) if code in range(1, 256)]


def runs_backwards(commands: Sequence[str], place: Value) -> Iterator[Finding]:
    """Yield a finding about the order of a list of commands."""
    if len(commands) > 1:
        what = "tunasync runs these commands last to first, Skipjack in the order of the list."
        yield place.finding(what, "Reverse the list if the order matters.")


def doubts(option: str, place: Value) -> Iterator[Finding]:
    """Yield findings about command lines that may have been written for a shell."""
    lines = place.value if isinstance(place.value, list) else [place.value]
    for what, todo in shell_doubts.of_lines(option, lines):
        yield place.finding(what, todo)


def tries(place: Value, findings: list[Finding]) -> int:
    """Return the number of attempts of a run."""
    if place.value > _MOST_TRIES:
        findings.append(place.finding(f"`retry` is limited to {_MOST_TRIES}.", "Check that this is enough."))
    return min(_MOST_TRIES, int(place.value))


def lies_below(path: str, root: str) -> bool:
    """Return whether an absolute path is below another one, without following links."""
    path, root = os.path.normpath(path), os.path.normpath(root)
    return path != root and os.path.commonpath([path, root]) == root
