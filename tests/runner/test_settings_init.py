"""`skipjack init --worker` and `--manager`: settings with every key, valid as written and with each comment in use."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.authoring import guesses
from runner.authoring.settings_text import commented
from runner.cli import main
from schemas.config import settings
from schemas.config.schema_set import schema
from schemas.config.settings import load_manager, load_policy, load_runner

VALUES: dict[str, dict[str, Any]] = {
    "runner": {"worker": "w1", "repository": {"url": "https://git.example.org/mirrors.git"}},
    "manager": {"listen": "127.0.0.1:8080"},
    "policy": {"providers": ["rsync"]},
}
BLOCK = re.compile(r"^( *)#([a-z_]+):.*\n(?:\1#  .*\n)*", re.MULTILINE)
"""A key in a comment with the lines below it; lines of its description have one space after the `#`."""


def keys_of(part: dict[str, Any]) -> set[str]:
    """The keys of a schema and of mappings in it, except mappings of which only one key may be set."""
    below = (each for each in part["properties"].values() if "properties" in each and each.get("maxProperties") != 1)
    return {*part["properties"]}.union(*map(keys_of, below))


@pytest.mark.parametrize("kind", VALUES)
def test_each_key_is_there_and_valid_without_its_comment(kind: str) -> None:
    text = commented(kind, "Head.", VALUES[kind])
    settings.check(kind, text.encode(), Path("/etc/skipjack/x.yml"))
    assert yaml.safe_load(text) == VALUES[kind]
    blocks = [*BLOCK.finditer(text)]
    assert len(blocks) >= 9
    for block in blocks:
        plain = re.sub(rf"^{block[1]}#", block[1], block[0], flags=re.MULTILINE)
        used = text[: block.start()] + plain + text[block.end() :]
        settings.check(kind, used.encode(), Path("/etc/skipjack/x.yml"))
        assert f"'{block[2]}'" in str(yaml.safe_load(used))
    assert set(re.findall(r"^[ #]*([a-z_]+):", text, re.MULTILINE)) == keys_of(schema(kind))


def test_every_key_has_its_description_and_default() -> None:
    text = re.sub(r"\n *#  *# |\n *# ", " ", commented("manager", "Head.", {}))
    part = schema("manager")["properties"]
    assert all(each["description"] in text for each in part.values())
    assert all(each["description"] in text for each in part["limits"]["properties"].values())
    assert "How long a run is kept. Default: `90d`." in text
    assert "Address of the git repository, in any form that git accepts. Required." in text


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home directory of a user without root."""
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_user_gets_settings_of_a_worker_in_the_own_folders(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guesses, "host", lambda: "beta.example.edu")
    assert main(["init", "--worker"]) == 0
    assert f"Create or mount the folder for all mirrors, {home}/mirror, or" in capsys.readouterr().out
    folder = home / ".config/skipjack"
    found = load_runner(folder / "runner.yml")
    assert (found.worker, found.mirror_root, found.run_dir) == ("beta", f"{home}/mirror", f"{home}/run/skipjack")
    assert (found.state_dir, found.log_dir) == tuple(f"{home}/.local/state/skipjack{each}" for each in ("", "/logs"))
    assert (found.policy, found.manager) == (str(folder / "policy.yml"), None)
    monkeypatch.setattr(os, "geteuid", lambda: (folder / "policy.yml").stat().st_uid)
    assert load_policy(folder / "policy.yml").providers == ("rsync", "two-stage-rsync", "command")


def test_a_user_gets_settings_of_a_manager_in_the_own_folders(home: Path) -> None:
    assert main(["init", "--manager", "--repository", "git@git.example.org:mirrors.git"]) == 0
    found = load_manager(home / ".config/skipjack/manager.yml")
    assert found.repository is not None
    assert found.repository.url == "git@git.example.org:mirrors.git"
    assert (found.listen, found.site_dir) == ("127.0.0.1:8080", f"{home}/.local/state/skipjack-manager/site")


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a config repository in a folder, which is the working folder."""
    subprocess.run(["git", "init", "-q", str(tmp_path / "clone")], check=True)
    main(["init", str(tmp_path / "clone/mirrors")])
    monkeypatch.chdir(tmp_path / "clone/mirrors")
    return tmp_path / "clone"


@pytest.mark.parametrize(
    ("origin", "address"),
    [("", "{clone}"), ("git@git.example.org:m.git", "git@git.example.org:m.git"),
     ("https://ada:secret@git.example.org/m.git", "https://git.example.org/mirrors.git")],
)  # fmt: skip
def test_a_clone_shows_the_address_of_its_repository(clone: Path, origin: str, address: str) -> None:
    if origin:
        subprocess.run(["git", "-C", str(clone), "remote", "add", "origin", origin], check=True)
    assert main(["init", "--worker", "--settings", "../new/runner.yml"]) == 0
    found = load_runner(clone / "new/runner.yml").repository
    assert (found.url, found.path) == (address.format(clone=clone), "mirrors")
    assert "secret" not in (clone / "new/runner.yml").read_text()


@pytest.mark.parametrize("mode", ["worker", "manager"])
def test_settings_that_exist_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str) -> None:
    file = tmp_path / "x.yml"
    file.write_text("mine")
    words = ["init", f"--{mode}", "--settings", str(file)]
    assert main(words) == 1
    assert capsys.readouterr().err == (
        f"ERROR skipjack: {file} already exists. Edit it, or name another file with `--settings`.\n"
    )
    file.unlink()
    (tmp_path / "policy.yml").write_text("mine")
    assert main(words) == 0
    assert (tmp_path / "policy.yml").read_text() == "mine"


@pytest.mark.parametrize(
    "address", ["https://ada:secret@git.example.org/m.git", "https://token@git.example.org/m.git", "-x"]
)
def test_an_address_that_no_file_should_have_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    assert main(["init", "--worker", "--settings", str(tmp_path / "x.yml"), f"--repository={address}"]) == 1
    said = capsys.readouterr().err
    assert "secret" not in said and "token@" not in said
    assert [*tmp_path.iterdir()] == []


def test_the_permissions_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        main(["init", "--worker", "--settings", str(tmp_path / "runner.yml")])
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


@pytest.mark.parametrize(
    ("folder", "host", "title"),
    [("/x/example-university", "h", "Example University"), ("/x/TUNA_mirrors", "h", "TUNA Mirrors"),
     ("/x/mirrors", "m1.example.edu", "Mirrors of example.edu"), ("/x/mirrors", "m1", "Open-source mirrors"),
     ("/x/***", "m1.local", "Open-source mirrors"), ("/x/spiegel.example.org", "h", "Spiegel Example Org")],
)  # fmt: skip
def test_the_title_is_guessed(folder: str, host: str, title: str) -> None:
    assert guesses.title(folder, host) == title


@pytest.mark.parametrize(
    ("host", "name"), [("m1.example.edu", "m1"), ("localhost", "w1"), ("", "w1"), ("-x", "w1"), ("(none)", "w1")]
)
def test_the_worker_is_guessed(host: str, name: str) -> None:
    assert guesses.worker(host) == name


def test_the_time_zone_is_that_of_the_machine(tmp_path: Path) -> None:
    def zone(value: str = "") -> str:
        return guesses.time_zone({"TZ": value} if value else {}, str(tmp_path))

    assert zone() == "UTC"
    (tmp_path / "timezone").write_text("Asia/Tokyo\n")
    assert zone() == "Asia/Tokyo"
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    assert (zone(), zone(":America/Lima"), zone("CET-1CEST")) == ("Europe/Berlin", "America/Lima", "Europe/Berlin")
    (tmp_path / "timezone").unlink()
    (tmp_path / "localtime").unlink()
    (tmp_path / "localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
    assert zone() == "UTC"


@pytest.mark.parametrize(
    ("record", "source"),
    [({"url": "https://h.example/s", "vcs_info": {"vcs": "git", "commit_id": "abc"}}, "git+https://h.example/s@abc"),
     ({"url": "https://t@h.example/s", "vcs_info": {"vcs": "git", "commit_id": "abc"}}, ""),
     ({"url": "file:///src", "dir_info": {"editable": True}}, ""), ({}, ""),
     ({"url": "file:///src", "vcs_info": {"vcs": "git", "commit_id": "abc"}}, "")],
)  # fmt: skip
def test_the_source_is_where_pip_had_it_from(record: dict[str, object], source: str) -> None:
    assert guesses.source_of(record) == source
