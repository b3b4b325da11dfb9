"""What an import has to tell about the files that it read."""

from typing import NamedTuple


class Finding(NamedTuple):
    """Something that was not kept as it was, where it stands, and what to do about it."""

    file: str
    line: int
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what} {self.todo}"


class LeftOut(Exception):  # noqa: N818 - what happens to the mirror
    """The mirror cannot be taken over; `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.what)
        self.finding = finding
