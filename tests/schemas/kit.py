"""Helpers of these tests: config repositories written as a few lines of text."""

from collections.abc import Iterable
from datetime import datetime
from zoneinfo import ZoneInfo

from schemas.config import catalogue
from schemas.config.catalogue import Catalogue
from schemas.config.sources import SourceFile
from schemas.problems import Problem
from schemas.records import Mirror

BASE = {
    "_site.yml": "title: Test Mirrors\ncategories: {os: Operating systems}\n",
    "_workers.yml": "workers:\n  w1: {}\n  w2: {}\n",
    "_defaults.yml": "provider: rsync\nworker: w1\nupstream: rsync://up.example.org/all/\n",
}
"""A valid repository without a mirror; a mirror's file may be empty."""


def sources(files: dict[str, str | bytes | None]) -> list[SourceFile]:
    """Return the base with some files added or replaced; None makes a symbolic link."""
    merged = BASE | files
    return [SourceFile(path, text.encode() if isinstance(text, str) else text) for path, text in merged.items()]


def load(**files: str | bytes | None) -> Catalogue:
    """Load the base with some files, whose names are written as `debian`, `os__debian`, `_workers`, `os___defaults`."""
    return catalogue.load(sources({f"{name.replace('__', '/', 1)}.yml": text for name, text in files.items()}))


def one(text: str, **files: str) -> Mirror:
    """Return the record of one valid mirror."""
    found = load(debian=text, **files)
    assert not found.problems, lines(found.problems)
    (mirror,) = found.mirrors
    return mirror


def reported(text: str, **files: str) -> list[str]:
    """Return the problems of one mirror, which is invalid."""
    found = load(debian=text, **files)
    assert found.quarantined == {"debian"}
    return lines(found.problems)


def at(zone: str, text: str, fold: int = 0) -> float:
    """Return a time of a wall clock, in seconds since 1970 UTC; `fold` is 1 for the second of two that it shows."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def lines(problems: Iterable[Problem]) -> list[str]:
    """Return problems as lines of text."""
    return [str(problem) for problem in problems]
