"""How much one run may delete: a pure judgement over the limits of a mirror and what a run deletes or has lost.

Everything but a directory counts as a file: regular files, symbolic links, devices. Deleting directories alone loses
nothing. Both the guard of the rsync providers, which judges before anything is deleted, and the comparison of a tree
with the last accepted success use it.
"""

from typing import NamedTuple

from schemas.mirror_record import Mirror
from schemas.units import format_size

EVERYTHING = "100%"
"""The share with which an operator accepts any loss in one run, that of every file as well."""


class Tree(NamedTuple):
    """What a directory holds: files, and their bytes."""

    files: int
    size: int


class Limits(NamedTuple):
    """How much may go: `most` is a count or a share like `10%`, `size` is in bytes, None for no limit.

    `named` is true when the operator named `most` for this run alone. `source` says where `most` stands, when that is
    not `max_delete`.
    """

    most: int | str = "50%"
    floor: int = 0
    size: int | None = None
    named: bool = False
    source: str = ""

    @property
    def are_off(self) -> bool:
        """Whether the operator accepts every loss of this run."""
        return self.named and self.most == EVERYTHING


class Loss(NamedTuple):
    """A tree before a run, what the run takes from it, and how many files there are afterwards."""

    had: Tree
    lost: Tree
    files_left: int


def as_limit(text: str | None) -> int | str | None:
    """Return a number of files or a share, as an operator typed it."""
    return int(text) if text and text.isdigit() else text


def limits_of(mirror: Mirror, named: int | str | None = None) -> Limits:
    """Return the limits of a definition; what the operator `named` for one run replaces its `max_delete` and floor."""
    if named is None:
        return Limits(mirror.max_delete, mirror.max_delete_floor, mirror.max_delete_bytes)
    return Limits(named, 0, None if named == EVERYTHING else mirror.max_delete_bytes, named=True)


def allowed(limits: Limits, files_had: int) -> int:
    """Return how many files may be deleted. Fractions are cut off: 10% of 9 files is none.

    The floor never covers all files that there were, whatever a run brings in their place.
    """
    if isinstance(limits.most, int):
        return limits.most
    return max(files_had * int(limits.most[:-1]) // 100, min(limits.floor, files_had - 1), 0)


def refusal(
    limits: Limits,
    loss: Loss,
    mirror: str,
    happens: str = "would be deleted",
    emptied: str = "no file would be left",
) -> str:
    """Return why a loss is refused, with the figures and what the operator can do; empty when it is allowed.

    `happens` is what a sentence says of the files, `emptied` of a tree that loses its last one.
    """
    excess = "" if limits.are_off else _excess(limits, loss, happens, emptied)
    return with_remedy(excess, mirror) if excess else ""


def refusal_of_bytes(limits: Limits, had: int, lost: int, mirror: str, happens: str) -> str:
    """Return why a loss of bytes is refused that the number of files does not show; empty when it is allowed.

    A share of files means the same share of the bytes.
    """
    figures = f"{format_size(lost)} of {format_size(had)} {happens}"
    if limits.are_off or lost <= 0:
        return ""
    if limits.size is not None and lost > limits.size:
        return with_remedy(f"{figures}; `max_delete_bytes` allows {format_size(limits.size)}", mirror)
    if isinstance(limits.most, str) and lost > (most := had * int(limits.most[:-1]) // 100):
        return with_remedy(f"{figures}; {_source(limits)} allows {format_size(most)}", mirror)
    return ""


def with_remedy(excess: str, mirror: str) -> str:
    """Return a refusal with what the operator can do."""
    return f"{excess}. If that is right, run `skipjack run {mirror} --max-delete {EVERYTHING}`"


def _source(limits: Limits) -> str:
    if limits.named:
        return f"`--max-delete {limits.most}`"
    return limits.source or f"`max_delete: {limits.most}`"


def _excess(limits: Limits, loss: Loss, happens: str, emptied: str) -> str:
    had, lost, files_left = loss
    if lost.files <= 0:
        return ""
    shown = f"{lost.files} of {had.files}" if lost.files <= had.files else str(lost.files)
    figures = f"{shown} files ({format_size(lost.size)}) {happens}"
    if files_left == 0:
        return f"{emptied}: {figures}"
    if limits.most != EVERYTHING and lost.files > (most := allowed(limits, had.files)):
        floor = f" and `max_delete_floor: {limits.floor}`" if limits.floor and isinstance(limits.most, str) else ""
        of = f" of {had.files}" if lost.files > had.files and isinstance(limits.most, str) else ""
        return f"{figures}; {_source(limits)}{floor} {'allow' if floor else 'allows'} {most}{of}"
    if limits.size is not None and lost.size > limits.size:
        return f"{figures}; `max_delete_bytes` allows {format_size(limits.size)}"
    return ""
