"""Helpers for tests of forecasts: a real config repository, and the plan of a change in it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from runner import cli
from tests.e2e.parts import ConfigRepository

BASE = {
    "_site.yml": "title: Test Mirrors\ntime_zone: UTC\ncategories: {os: Operating systems}\n",
    "_workers.yml": "workers:\n  w1: {}\n  w2: {slots: 2}\n",
    "_defaults.yml": "provider: rsync\nworker: w1\n",
    "debian.yml": "upstream: rsync://up.example.org/debian/\n",
    "gnu.yml": "upstream: rsync://up.example.org/gnu/\n",
}
"""A valid configuration with two mirrors on one of two workers."""


class Proposal:
    """A repository whose branch `main` has the base, and in which changes are committed on the branch `topic`."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.repository = ConfigRepository(folder)
        self._capsys = capsys
        self.repository.commit(BASE, "Add the base")
        self.repository.git("checkout", "-q", "-b", "topic")

    def commit(self, files: Mapping[str, str | None]) -> None:
        """Commit files on the branch; None removes one."""
        self.repository.commit(files, "Change it")

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run `skipjack plan` there and return its exit code, its output and its log."""
        code = cli.main(["plan", "--repo", str(self.repository.tree), *words])
        printed = self._capsys.readouterr()
        return code, printed.out, printed.err

    def plan(self, *more: str) -> str:
        """Return the plan of the branch, which must be fine, without the line that has the commits."""
        code, out, err = self.run("main..topic", *more)
        assert (code, err) == (0, ""), out + err
        return out.partition("\n")[2]
