"""Helpers for tests of forecasts: a real config repository, and the plan of a change in it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def begun(folder: Path) -> Path:
    """Create a repository with the base, which proposals copy."""
    repository = ConfigRepository(folder)
    repository.commit(BASE, "Add the base")
    repository.git("checkout", "-q", "-b", "topic")
    return folder


_OTHERS = re.compile(r"^( {6}([+-] |for example )| {2}load: | {4}starts each | {2}policy: ).*\n", re.M)


class Proposal:
    """A repository whose branch `main` has the base, and in which changes are committed on the branch `topic`."""

    def __init__(self, folder: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.repository = ConfigRepository(folder, base)
        self._capsys = capsys

    def commit(self, files: Mapping[str, str | None]) -> None:
        """Commit files on the branch, without a push; None removes one."""
        for name, text in files.items():
            path = self.repository.tree / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self.repository.git("add", "--all")
        self.repository.git("commit", "-q", "-m", "Change it")

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

    def keys(self) -> str:
        """Return the plan without command lines, load and policy."""
        return re.sub(
            r"^( {6}([+-] |for example )| {2}load: | {4}starts each | {2}policy: ).*\n",
            "",
            self.plan(),
            flags=re.MULTILINE,
        )

    def plain(self, *more: str) -> Any:
        """Return the plan of the branch as JSON."""
        _code, out, err = self.run("main..topic", "--format", "json", *more)
        assert err == ""
        return json.loads(out)

    def accept(self) -> None:
        """Let the base be what the branch is now."""
        self.repository.git("branch", "-f", "main", "topic")
