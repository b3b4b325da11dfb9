"""The hooks of `.pre-commit-hooks.yaml` work in a config repository as pre-commit runs them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
GOOD = "worker: w1\nprovider: rsync\nupstream: rsync://rsync.example.org/a/\n"


def git(where: Path, *words: str) -> subprocess.CompletedProcess[str]:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(where), *identity, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    for name, text in {"_site.yml": "title: T\n", "_workers.yml": "workers: {w1: {}}\n", "a.yml": GOOD}.items():
        (tmp_path / "mirrors").mkdir(exist_ok=True)
        (tmp_path / "mirrors" / name).write_text(text)
    git(tmp_path, "add", "--all")
    return tmp_path


def run(hook: dict[str, Any], repository: Path, *args: str) -> subprocess.CompletedProcess[str] | None:
    """Run a hook for the staged files as pre-commit does; None if none of them is for this hook."""
    staged = git(repository, "diff", "--staged", "--name-only", "--no-ext-diff", "-z").stdout.split("\0")[:-1]
    files = [name for name in staged if re.search(hook.get("files", ""), name)]
    if not files:
        return None
    words = [*shlex.split(hook["entry"]), *args, *(files if hook.get("pass_filenames", True) else [])]
    return subprocess.run(words, cwd=repository, capture_output=True, text=True, check=False, env=ENVIRONMENT)


def test_each_hook_has_what_pre_commit_requires_and_is_installed_from_here() -> None:
    assert [hook["id"] for hook in HOOKS] == ["skipjack-validate"]
    for hook in HOOKS:
        assert {"id", "name", "entry", "language"} <= hook.keys()
        assert hook["language"] == "python", "pre-commit installs this repository for it"
        re.compile(hook["files"])


def test_the_hook_checks_the_whole_folder(repository: Path) -> None:
    [hook] = HOOKS
    done = run(hook, repository, "mirrors")
    assert done is not None and (done.returncode, done.stdout) == (0, "1 mirror is valid\n")
    git(repository, "commit", "--quiet", "--message=x")
    (repository / "mirrors/b.yml").write_text(f"{GOOD}formerly: [a]\n")
    git(repository, "add", "--all")
    done = run(hook, repository, "mirrors")
    assert done is not None and done.returncode == 1 and done.stdout.startswith("mirrors/b.yml:4:")


@pytest.mark.parametrize(
    ("file", "is_for_it"),
    [
        ("mirrors/b.yaml", True),
        ("mirrors/b.YML", True),
        ("mirrors/filters/a.txt", True),
        (".skipjack/schemas/x.hook.schema.json", True),
        ("README.md", False),
    ],
)
def test_the_hook_runs_for_files_that_are_read(file: str, is_for_it: bool) -> None:
    [hook] = HOOKS
    assert bool(re.search(hook["files"], file)) is is_for_it


@pytest.mark.parametrize("args", ["mirrors", "mirrors --changed-since HEAD"])
def test_git_refuses_a_commit_that_the_hook_rejects(repository: Path, args: str) -> None:
    """git sets variables for its hooks that lead to another index or folder."""
    [hook] = HOOKS
    git(repository, "commit", "--quiet", "--message=x")
    script = repository / ".git/hooks/pre-commit"
    script.write_text(f"#!/bin/sh\nexec {hook['entry']} {args}\n")
    script.chmod(0o755)
    (repository / "mirrors/b.yml").write_text(f"{GOOD}interval: 6\n")
    git(repository, "add", "--all")
    done = git(repository, "commit", "--all", "--message=y")
    assert done.returncode == 1 and "mirrors/b.yml:4:11: `interval` must be text" in done.stdout + done.stderr
    (repository / "mirrors/b.yml").write_text(GOOD)
    assert git(repository, "commit", "--all", "--message=y").returncode == 0
