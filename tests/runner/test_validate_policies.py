"""`skipjack validate` judges definitions by the exported policies of workers."""

import json
from pathlib import Path
from typing import Any

import pytest

from runner import cli
from schemas.config import exported_policy
from schemas.records import Policy, Repository, RunnerSettings

GOOD = "provider: rsync\nupstream: rsync://rsync.example.org/a/\n"
DENIED = f"worker: [w1, w2]\n{GOOD}docker_image: debian:12\n"
POLICIES = ".skipjack/policies"


def policy(worker: str, **rules: Any) -> str:
    """An exported policy in YAML, of which JSON is a part."""
    settings = RunnerSettings(worker, Repository("https://git.example.org/mirrors.git"), mirror_root="/srv/mirror")
    return json.dumps(exported_policy.as_plain(exported_policy.exported(settings, Policy(**rules), "0.1.0")), indent=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "_site.yml": "title: T\n",
        "_workers.yml": "workers: {w1: {}, w2: {}}\n",
        "fine.yml": f"worker: w1\n{GOOD}",
        "denied.yml": DENIED,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / POLICIES).mkdir(parents=True)
    return tmp_path


def checked(capsys: pytest.CaptureFixture[str], folder: Path, *words: object) -> dict[str, Any]:
    code = cli.main(["validate", str(folder), "--json", *map(str, words)])
    printed = capsys.readouterr()
    assert printed.err == ""
    document: dict[str, Any] = json.loads(printed.out)
    assert code == bool(document["problems"])
    return document


def test_without_a_policy_nothing_is_denied(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys, folder)["mirrors"] == ["denied", "fine"]


def test_the_policies_of_the_repository_deny_at_the_line_of_the_key(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / POLICIES / "w2.yml").write_text(policy("w2"))
    document = checked(capsys, folder)
    [problem] = document["problems"]
    assert (problem["file"], problem["line"], problem["rule"]) == ("denied.yml", 4, "policy")
    assert problem["what"].startswith("The policy of `w2` denies `denied`: ") and "debian:12" in problem["what"]
    assert "Ask the administrator" in problem["todo"]
    assert document["mirrors"] == ["fine"]


def test_each_worker_that_denies_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for worker in ("w1", "w2"):
        (folder / POLICIES / f"{worker}.yml").write_text(policy(worker))
    found = [problem["what"].partition(":")[0] for problem in checked(capsys, folder)["problems"]]
    assert found == ["The policy of `w1` denies `denied`", "The policy of `w2` denies `denied`"]


def test_a_policy_on_the_command_line_replaces_that_of_the_repository(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path_factory.mktemp("policies")
    for worker, images in {"w1": [], "w2": ["debian:12"]}.items():
        (elsewhere / f"{worker}.yml").write_text(policy(worker, images=tuple(images)))
    (folder / POLICIES / "w2.yml").write_text(policy("w2"))
    allowed = elsewhere / "w2.yml"
    assert checked(capsys, folder, "--policy", allowed)["problems"] == []
    document = checked(capsys, folder, "--policy", allowed, "--policy", elsewhere / "w1.yml")
    assert ["`w1`" in problem["what"] for problem in document["problems"]] == [True]


def test_a_mirror_whose_directory_would_hold_the_password_of_another_one_is_denied(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "username: a\npassword: {file: /srv/mirror/fine/secret}\n"
    (folder / "other.yml").write_text(f"worker: w1\n{GOOD}{secret}")
    (folder / "denied.yml").unlink()
    (folder / POLICIES / "w1.yml").write_text(policy("w1", readable=("/srv/mirror/fine",)))
    assert "fine.yml" in {problem["file"] for problem in checked(capsys, folder)["problems"]}


def told(capsys: pytest.CaptureFixture[str], folder: Path, file: Path) -> str:
    assert cli.main(["validate", str(folder), "--policy", str(file)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


def test_a_policy_that_cannot_be_used_is_reported_and_nothing_else(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path_factory.mktemp("policies") / "p.yml"
    assert "cannot read the exported policy" in told(capsys, folder, file)
    file.write_text("worker: w1\n")
    assert "is invalid" in told(capsys, folder, file)
    file.write_text(policy("w9"))
    assert "of the worker `w9`, which is not in `_workers.yml`" in told(capsys, folder, file)


def test_two_policies_of_one_worker_are_one_line(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (tmp_path_factory.mktemp("policies") / "p.yml" for _each in range(2))
    one.write_text(policy("w2"))
    two.write_text(policy("w2", images=("debian:12",)))
    assert cli.main(["validate", str(folder), "--policy", str(one), "--policy", str(two)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"{two} is the second exported policy of the worker `w2`. Name one file for each worker." in printed.err


def test_warnings_of_directories_know_the_root_of_a_policy_on_the_command_line(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "denied.yml").write_text(f"worker: w1\n{GOOD}mirror_dir: /data/fine\n")
    (folder / POLICIES / "w1.yml").write_text(policy("w1", mirror_roots=("/data",)).replace("/srv/mirror", "/data"))
    assert len(checked(capsys, folder)["warnings"]) == 1
    elsewhere = tmp_path_factory.mktemp("policies") / "p.yml"
    elsewhere.write_text(policy("w1", mirror_roots=("/data",)))
    assert checked(capsys, folder, "--policy", elsewhere)["warnings"] == []
