"""`install --cron` rejects programs and settings that the worker's user cannot run or read."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import cli
from runner.install import setup

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with settings and a program that every user can reach; pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o755)
        (path / "bin").mkdir(mode=0o755)
        (path / "bin/skipjack").write_text("#!/bin/sh\necho skipjack 1\n")
        (path / "bin/skipjack").chmod(0o755)
        words = f"worker: w1\nrepository: {{url: 'file:///none'}}\nstate_dir: {path}/state\nrun_dir: {path}/run\n"
        (path / "runner.yml").write_text(f"{words}mirror_root: {path}/mirrors\npolicy: {path}/policy.yml\n")
        (path / "policy.yml").write_text("{}\n")
        for file in ("runner.yml", "policy.yml"):
            (path / file).chmod(0o644)
        monkeypatch.setattr(setup, "program", lambda name: f"{path}/bin/{name}")
        monkeypatch.setattr("runner.install.cron.program", lambda name: f"{path}/bin/{name}")
        yield path


def cron_lines(place: Path, user: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What `install --cron` prints, and what it says about it."""
    code = cli.main(["install", "--cron", "--user-name", user, "--settings", f"{place}/runner.yml"])
    said = capsys.readouterr()
    assert code == (0 if said.out else 1), said.err
    return said.out, said.err


@pytest.mark.parametrize("user", ["nobody", "yet-to-be-made"])
def test_cron_lines_for_a_program_that_the_user_cannot_run_are_not_printed(
    place: Path, user: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"{place}/bin/skipjack" in cron_lines(place, user, capsys)[0]
    (place / "bin").chmod(0o700)
    out, said = cron_lines(place, user, capsys)
    assert out == ""
    assert said.startswith(f"ERROR skipjack: the user {user} cannot run {place}/bin/skipjack: ")
    assert "Permission denied. Install Skipjack where every user can read it" in said


@pytest.mark.parametrize(
    ("user", "todo"), [("nobody", "`chgrp nobody` and `chmod g+r`"), ("yet-to-be-made", "`chmod a+r`")]
)
def test_cron_lines_for_settings_that_the_user_cannot_read_are_not_printed(
    place: Path, user: str, todo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "runner.yml").chmod(0o600)
    said = cron_lines(place, user, capsys)
    words = f"the user {user} cannot read the settings {place}/runner.yml. Use {todo} for the file"
    assert (said[0], words in said[1]) == ("", True)


def test_a_python_below_a_closed_folder_is_reported(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "closed").mkdir(mode=0o700)
    (place / "closed/python").symlink_to("/bin/sh")
    (place / "bin/skipjack").write_text(f"#!{place}/closed/python\n")
    out, said = cron_lines(place, "nobody", capsys)
    assert (out, f"the user nobody cannot run {place}/bin/skipjack" in said) == ("", True)
