"""Findings of an import: the parts of the configuration that were not kept as they were."""

from typing import NamedTuple


class Finding(NamedTuple):
    """A part that was not kept as it was: where it is, what changed, and what to do."""

    file: str
    line: int
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what} {self.todo}"


class LeftOut(Exception):  # noqa: N818 - what happens to the mirror
    """The mirror cannot be imported; `finding` has the reason."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding
