"""An exported policy denies what the worker's own does, on a machine that has none of the worker's files.

`two_judges` compares both over the cases of the tests of the policy.
"""

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.policy import exported, policy
from schemas.config import exported_policy
from schemas.records import Bound, FreshnessFile, Mirror, Policy, Repository, RunnerSettings, Secret

SETTINGS = RunnerSettings("w1", Repository("https://git.example/x.git"), mirror_root="/srv/mirror")
PLAIN = Mirror("debian", "w1", "rsync", "rsync://rsync.example.org/debian/")


def denied(mirror: Mirror, rules: Policy = Policy(), **settings: Any) -> str:  # noqa: B008 - a frozen record
    found = exported.judged(mirror, exported_policy.exported(SETTINGS._replace(**settings), rules, "1"))
    return " ".join(what for what, _todo in found)


def test_definitions_that_are_valid_and_denied_by_the_worker_are_found() -> None:
    assert denied(PLAIN) == ""
    assert "The image `tools:1` is not allowed" in denied(PLAIN._replace(docker_image="tools:1"))
    assert denied(PLAIN._replace(docker_image="tools:1"), Policy(images=("tools:*",))) == ""
    assert "`--rsh`" in denied(PLAIN._replace(rsync_options=("--rsh=sh",)))
    assert "`command` runs `/bin/sh`" in denied(PLAIN._replace(command="/bin/sh"), Policy(programs=("/opt/",)))


def test_links_files_and_programs_of_this_machine_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "ssh").write_text("#!/bin/sh\n")
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    root, filters = f"{tmp_path}/root", f"{tmp_path}/filters"
    rules = Policy(mirror_roots=(root,), pattern_files=(filters,), readable=(filters,))
    # A folder of this name would not be a regular file here.
    (tmp_path / "filters" / "list").mkdir(parents=True)
    mirror = PLAIN._replace(mirror_dir=f"{root}/debian", exclude_file=f"{filters}/list")
    mirror = mirror._replace(password=Secret(file=f"{filters}/list"))
    assert denied(mirror, rules).startswith("`exclude_file` names") and "holds" in denied(mirror, rules)
    assert denied(mirror._replace(password=None), rules) == ""
    assert list(policy.violations(mirror, exported.paths_on(_export(rules), mirror), SETTINGS, rules)) != []
    other = PLAIN._replace(mirror_dir=f"{tmp_path}/elsewhere/debian")
    assert "does not lie below" in denied(other, rules)
    shell = PLAIN._replace(upstream="me@h.example:x/")
    assert "starts `ssh`" in denied(shell, Policy(programs=(f"{tmp_path}/ssh",)))
    assert denied(shell, Policy(programs=("/usr/bin/ssh",))) == ""


def _export(rules: Policy) -> exported_policy.ExportedPolicy:
    return exported_policy.exported(SETTINGS, rules, "1")


def test_the_judge_asks_the_system_about_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Policy(
        images=("tools:*",), volumes=("/data",), programs=("/opt/", "/usr/bin/rsync"),
        readable=("/etc/skipjack/secrets", Bound(("rsync.example.org",), "/etc/skipjack/secrets/debian")),
        allowed_rsync_options=("default", "--password-file"),
    )  # fmt: skip
    read = exported_policy.read("w1.yml", _yaml(rules))
    mirrors = [
        PLAIN._replace(password=Secret(file="/etc/skipjack/secrets/debian"), exclude_file="/etc/skipjack/filters/x"),
        PLAIN._replace(docker_image="tools:1", docker_volumes=("/data:/x", "/etc:/y"), exclude_file="/root/x"),
        PLAIN._replace(provider="command", command="/opt/sync /x"),
        PLAIN._replace(provider="command", command="/usr/bin/rsync --exclude-from=/etc/x me@h:x /srv/mirror/debian"),
        PLAIN._replace(upstream="me@h.example:x/", freshness=FreshnessFile("time")),
        PLAIN._replace(rsync_options=("--password-file=/etc/shadow", "--filter=merge /etc/x")),
    ]

    def judged() -> list[int]:
        judge = exported.judge(read, mirrors)
        return [len(judge(mirror)) for mirror in mirrors]

    assert judged() == [0, 3, 0, 2, 1, 2], "also loads all modules"
    asked: list[str] = []
    with monkeypatch.context() as patched:
        for name in ("stat", "lstat", "open", "readlink", "scandir", "listdir", "access", "getcwd"):
            patched.setattr(os, name, functools.partial(_asked, asked, getattr(os, name), name))
        patched.setattr(os.path, "realpath", functools.partial(_asked, asked, os.path.realpath, "realpath"))
        judged()
    assert asked == []


def _asked(asked: list[str], function: Callable[..., Any], name: str, *arguments: Any, **more: Any) -> Any:
    asked.append(f"{name} {arguments}")
    return function(*arguments, **more)


def _yaml(rules: Policy) -> bytes:
    return json.dumps(exported_policy.as_plain(_export(rules))).encode()


def test_no_mirror_may_contain_the_password_of_another_one() -> None:
    rules = Policy(readable=("/srv/mirror/debian/keys",))
    other = PLAIN._replace(name="other", password=Secret(file="/srv/mirror/debian/keys/other"))
    judge = exported.judge(_export(rules), [PLAIN, other])
    assert [what for what, _todo in judge(PLAIN)] == [
        "The directory /srv/mirror/debian would contain this machine's /srv/mirror/debian/keys/other, which a sync "
        "would delete."
    ]
    assert exported.judge(_export(Policy()), [PLAIN, other])(PLAIN) == [], "the policy does not let it read that file"
