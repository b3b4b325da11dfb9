"""The examples in the tables of keys, which the schemas have as well: what reads such a file takes each, and a machine
with the policy that docs/containers.md shows lets the mirror run."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.base.mirror_paths import paths_of
from runner.policy.policy import violations
from schemas.config import catalogue
from schemas.config.sources import SourceFile
from schemas.records import Policy, Repository, RunnerSettings

from .pages import ROOT
from .test_examples import LACKING, LOADERS

SITE = "title: Test\ncategories: {os: Operating systems}\n"
WORKERS = "workers: {alpha: {}, beta: {}, w1: {}}\n"
POLICY = Policy(images=("mirror-tools:*",), volumes=("/etc/skipjack/keys",))

IN_CONTAINER = {"docker_image": "mirror-tools:3"}
OF_COMMAND = {"provider": "command", "command": "/opt/mirror-scripts/sync"}
NEEDED: dict[str, dict[str, Any]] = {
    "docker_volumes": IN_CONTAINER,
    "docker_options": IN_CONTAINER,
    "size_units": OF_COMMAND | {"size_pattern": "size: (.*)"},
    "size_pattern": OF_COMMAND,
    "command": OF_COMMAND,
    "provider": {"command": "/opt/mirror-scripts/sync"},
    "progress_pattern": OF_COMMAND,
    "exec_on_each_failure": {"exec_on_failure": ["/usr/local/bin/tell"]},
    "exec_timeout": {"exec_on_success": ["/usr/local/bin/tell"]},
    "username": {"password": {"file": "/etc/skipjack/secrets/x"}},
    "snapshot_path": {"btrfs_snapshot": True},
    "rsync_override_only": {"rsync_override": ["-a", "--delete"]},
    "stage1_profile": {"provider": "two-stage-rsync"},
}
"""Keys that do nothing alone, and those that they need."""


def keys(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / f"schemas/files/{kind}.schema.json").read_text())["properties"]
    return found


def examples(kind: str) -> list[Any]:
    return [
        pytest.param(key, example, id=f"{kind} {key} {example}")
        for key, part in keys(kind).items()
        for example in part.get("examples", ())
    ]


def test_there_are_examples() -> None:
    assert len(examples("mirror")) > 60 and len(examples("runner")) > 10


@pytest.mark.parametrize(("key", "example"), examples("mirror"))
def test_an_example_of_a_mirrors_key_is_valid_and_allowed(key: str, example: object) -> None:
    base: dict[str, Any] = {"worker": "alpha", "provider": "rsync", "upstream": "rsync://rsync.example.org/all/"}
    files = {"_site.yml": SITE, "_workers.yml": WORKERS, "debian.yml": yaml.safe_dump(base)}
    name = "x" if key != "after" else "debian-cd"
    files[f"{name}.yml"] = yaml.safe_dump(base | NEEDED.get(key, {}) | {key: example})
    patterns = [SourceFile("filters/debian.txt", b"*.iso\n", has_patterns=True)]
    found = catalogue.load([*(SourceFile(path, text.encode()) for path, text in files.items()), *patterns])
    assert [str(problem) for problem in found.problems] == []
    for mirror in found.mirrors:
        settings = RunnerSettings(mirror.worker, Repository("https://git.example.org/mirrors.git"))
        assert list(violations(mirror, paths_of(mirror, settings, POLICY), settings, POLICY)) == []


@pytest.mark.parametrize(
    ("kind", "key", "example"),
    [pytest.param(kind, *each.values, id=each.id) for kind in LOADERS for each in examples(kind)],
)
def test_an_example_of_a_settings_key_can_be_loaded(tmp_path: Path, kind: str, key: str, example: object) -> None:
    path = tmp_path / f"{kind}.yml"
    path.write_text(yaml.safe_dump(LACKING.get(kind, {}) | {key: example}))
    LOADERS[kind](path)
