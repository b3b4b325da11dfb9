"""Helpers for the tests of imports: a folder to import in, and the result."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runner.base.mirror_paths import paths_of
from runner.cli import main
from runner.policy.policy import violations
from schemas.config import catalogue
from schemas.config.catalogue import Catalogue
from schemas.config.settings import load_policy, load_runner
from schemas.config.sources import read_directory
from schemas.records import Mirror, Policy, RunnerSettings

GLOBAL = """\
[global]
name = "alpha"
log_dir = "/var/log/tunasync/{{.Name}}"
mirror_dir = "/srv/mirror"
concurrent = 3
interval = 360
"""
DEBIAN = '[[mirrors]]\nname = "debian"\nupstream = "rsync://up.example.org/debian/"\n'
SECRET = "open sesame"


class ImportResult(NamedTuple):
    """What an import printed and left behind."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def findings(self) -> list[str]:
        """The lines about what was not kept."""
        return [line for line in self.out.splitlines() if re.match(r"\S+:[0-9]+: ", line)]

    @property
    def catalogue(self) -> Catalogue:
        """The repository, which is always sound."""
        found = catalogue.load(read_directory(self.folder / "mirrors"))
        assert not found.problems
        return found

    @property
    def mirrors(self) -> dict[str, Mirror]:
        """Its mirrors, which the policy that was written always allows."""
        found = {mirror.name: mirror for mirror in self.catalogue.mirrors}
        for mirror in found.values():
            assert self.forbidden(mirror, self.policy) == []
        return found

    @property
    def settings(self) -> RunnerSettings:
        """The machine's settings."""
        return load_runner(self.folder / "runner.yml")

    @property
    def policy(self) -> Policy:
        """The machine's policy: its defaults when none was written."""
        return load_policy(self.folder / "policy.yml")

    def forbidden(self, mirror: Mirror, policy: Policy) -> list[str]:
        """What a policy says against a mirror on this machine."""
        paths = paths_of(mirror, self.settings, policy)
        return [what for what, _todo in violations(mirror, paths, self.settings, policy)]

    def text(self) -> str:
        """Everything that was written into the repository."""
        return "".join(path.read_text("utf-8") for path in sorted((self.folder / "mirrors").iterdir()))


class Bench:
    """A folder to import in."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def run(self, config: str | bytes, *words: str) -> ImportResult:
        """Import a configuration."""
        data = config.encode() if isinstance(config, str) else config
        (self.folder / "worker.conf").write_bytes(data)
        places = ["--into", str(self.folder / "mirrors"), *words]
        code = main(["import", "tunasync", str(self.folder / "worker.conf"), *places])
        out, err = self._capsys.readouterr()
        return ImportResult(code, out.replace(f"{self.folder}/", ""), err.replace(f"{self.folder}/", ""), self.folder)

    def with_secrets(self, config: str) -> ImportResult:
        """Import a configuration that has passwords."""
        return self.run(config, "--secrets", str(self.folder / "secrets"))


def toml(value: object) -> str:
    """A value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {toml(below)}' for key, below in value.items())}}}"
    return str(value) if isinstance(value, int) else "'" + str(value) + "'"


def table(mirror: Mapping[str, Any], header: str = "[[mirrors]]") -> str:
    return "\n".join([header, *(f"{key} = {toml(value)}" for key, value in mirror.items()), "", ""])
