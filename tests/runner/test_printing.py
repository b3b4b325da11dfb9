"""What a reader that leaves, another user's files and a second courier bring about at the command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from runner import cli, courier, once
from schemas.records import ManagerAddress, Repository, RunnerSettings

_PRINT = """
import sys
from {boundary} import {guard}
from {output} import {say}
def command():
    for _line in range(100_000):
        {say}("a line")
    return 0
sys.exit({guard}(command))
"""


@pytest.mark.parametrize(
    ("output", "say", "boundary", "guard"),
    [
        ("runner.output", "say", "runner.boundary", "guarded"),
        ("sitegen.output", "result", "sitegen.boundary", "run"),
    ],
)
def test_a_reader_that_leaves_ends_a_program_without_a_trace(output: str, say: str, boundary: str, guard: str) -> None:
    program = _PRINT.format(output=output, say=say, boundary=boundary, guard=guard)
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "a line\n"
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (1, "")


def test_once_is_content_with_another_courier(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def busy(*_words: object, **_more: object) -> int:
        raise courier.AnotherCourier("Another courier is at work.", "")

    settings = RunnerSettings("w1", Repository("file:///none"), manager=ManagerAddress("http://127.0.0.1:9"))
    monkeypatch.setattr(courier, "once", busy)
    once._deliver(settings, tmp_path / "runner.yml")


def test_a_users_own_settings_come_before_those_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_system, own = tmp_path / "runner.yml", tmp_path / "skipjack/runner.yml"
    monkeypatch.setattr(cli, "SETTINGS", of_system)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert cli._default_settings() == of_system
    own.parent.mkdir()
    own.touch()
    assert (cli._default_settings(), capsys.readouterr().err) == (own, "")
    of_system.touch()
    assert cli._default_settings() == own
    assert f"uses {own}; `--settings {of_system}` is the worker of the system" in capsys.readouterr().err
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert cli._default_settings() == of_system
