"""How much may one run delete? Pure functions of a mirror's limits and the files that a run deletes or has lost.

Everything that is not a directory counts as a file: regular files, links, devices. Deleted directories do not count.
Used by the deletion guard of the rsync providers, before anything is deleted, and by the comparison of a tree with the
last accepted success.
"""

from typing import NamedTuple

from schemas.mirror_record import Mirror
from schemas.units import format_size

EVERYTHING = "100%"
"""The share with which an operator accepts any loss in one run, even of all files."""


class Tree(NamedTuple):
    """The files of a directory, and their bytes."""

    files: int
    size: int


class Limits(NamedTuple):
    """How much may be deleted: `most` is a count or a share like `10%`, `size` is in bytes, None for no limit.

    `named` is true if the operator gave `most` for this run only. `source` is where `most` comes from if that is not
    `max_delete`.
    """

    most: int | str = "50%"
    floor: int = 0
    size: int | None = None
    named: bool = False
    source: str = ""

    @property
    def are_off(self) -> bool:
        """Return whether the operator accepts every loss of this run."""
        return self.named and self.most == EVERYTHING


class Loss(NamedTuple):
    """A tree before a run, what the run deletes of it, and the number of files afterwards."""

    had: Tree
    lost: Tree
    files_left: int


def as_limit(text: str | None) -> int | str | None:
    """Return a number of files or a share, as an operator typed it."""
    return int(text) if text and text.isdigit() else text


def limits_of(mirror: Mirror, named: int | str | None = None) -> Limits:
    """Return the limits of a definition; `named` by the operator for one run replaces `max_delete` and its floor."""
    if named is None:
        return Limits(mirror.max_delete, mirror.max_delete_floor, mirror.max_delete_bytes)
    return Limits(named, 0, None if named == EVERYTHING else mirror.max_delete_bytes, named=True)


def allowed(limits: Limits, files_had: int) -> int:
    """Return how many files may be deleted. Fractions are cut off: 10% of 9 files is 0.

    The floor never allows to delete all old files, even if the run adds new ones.
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
    """Return why a loss is refused, with the figures and what the operator can do; empty if it is allowed.

    `happens` is the verb of the sentence about the files, `emptied` the text for a tree that loses all files.
    """
    excess = "" if limits.are_off else _excess(limits, loss, happens, emptied)
    return with_remedy(excess, mirror) if excess else ""


def refusal_of_bytes(limits: Limits, had: int, lost: int, mirror: str, happens: str) -> str:
    """Return why a loss of bytes is refused, which the number of files does not show; empty if it is allowed.

    A share applies to the bytes as well.
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
