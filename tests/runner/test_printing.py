"""The command line with a reader that leaves, with another user's files and with a second courier."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner import cli, error_boundary, once
from runner.courier import courier
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


_BOUNDARIES = pytest.mark.parametrize(
    ("output", "say", "boundary", "guard"),
    [
        ("runner.base.output", "say", "runner.error_boundary", "guarded"),
        ("sitegen.output", "result", "sitegen.boundary", "run"),
    ],
)


@_BOUNDARIES
def test_a_reader_that_leaves_ends_a_program_without_a_message(
    output: str, say: str, boundary: str, guard: str
) -> None:
    program = _PRINT.format(output=output, say=say, boundary=boundary, guard=guard)
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "a line\n"
        process.stdout.close()
        said = process.stderr.read()
    assert (process.returncode, said) == (1, "")


def test_once_succeeds_while_another_courier_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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
    assert f"using {own}; the system's worker has `--settings {of_system}`" in capsys.readouterr().err
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert cli._default_settings() == of_system


_PROGRAMS = pytest.mark.parametrize("module", ["runner.cli", "sitegen"])


def run_shell(words: str, *, fails_in: int = 1) -> str:
    """Return what a command line prints on stderr, and check its exit code; its output is a pipe without a reader,
    unless the line says another."""
    line = f'PYTHON() {{ {sys.executable} -m "$@"; }}; {words}'
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            ["bash", "-c", line], stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
            env=os.environ | {"PYTHONUNBUFFERED": ""},
        )  # fmt: skip
    finally:
        os.close(writer)
    assert done.returncode == fails_in, done.stderr
    return done.stderr


@_PROGRAMS
def test_help_that_cannot_be_written_is_a_failure_with_one_message(module: str) -> None:
    name = "skipjack-manager" if module == "sitegen" else "skipjack"
    words = f"ERROR {name}: standard output: No space left on device. Free some space.\n"
    assert run_shell(f"PYTHON {module} --help >/dev/full") == words


@_PROGRAMS
def test_help_without_a_reader_prints_no_error(module: str) -> None:
    assert run_shell(f"PYTHON {module} --help") == ""
    assert run_shell(f"PYTHON {module} --version >&- 2>&-", fails_in=0) == ""


_SAY = """
import sys
from {boundary} import {guard}
from {output} import {say}
def command():
    {say}("an answer")
    return 0
sys.exit({guard}(command))
"""


@_BOUNDARIES
def test_an_answer_on_a_full_disk_is_a_failure_with_one_message(
    output: str, say: str, boundary: str, guard: str, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(_SAY.format(output=output, say=say, boundary=boundary, guard=guard))
    said = run_shell(f"PYTHONPATH={Path.cwd()} {sys.executable} {program} >/dev/full")
    assert said.endswith(": standard output: No space left on device. Free some space.\n") and said.count("\n") == 1


@_BOUNDARIES
@pytest.mark.parametrize("closed", [">&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_output_is_one_without_a_reader(
    output: str, say: str, boundary: str, guard: str, closed: str, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(_SAY.format(output=output, say=say, boundary=boundary, guard=guard))
    assert run_shell(f"PYTHONPATH={Path.cwd()} {sys.executable} {program} {closed}") == ""


_MESSAGES = """
import sys
from schemas import standard_streams
for _ in range(3):
    standard_streams.write_error("a message\\n")
try:
    sys.stderr.write("a message of another module\\n")
except OSError:
    pass
"""


def test_messages_on_a_full_disk_do_not_change_the_exit_code(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_MESSAGES)
    run_shell(f"PYTHONPATH={Path.cwd()} {sys.executable} {program} 2>/dev/full", fails_in=0)


_CHANGE = """
import os, sys
from pathlib import Path
from runner.error_boundary import guarded
from runner.base.output import finish_unread, say
def change():
    finish_unread()
    first = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
    for number in range(100):
        say("a change")
        os.write(first, b"%d\\n" % number)
    return 0
sys.exit(guarded(change))
"""


@pytest.mark.parametrize("output", ["", ">/dev/full", ">&-", "<&- >&- 2>&-"])
def test_a_command_that_changes_things_continues_without_a_reader(output: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(_CHANGE)
    words = f"PYTHONPATH={Path.cwd()} {sys.executable} {program} {tmp_path}/changes {output}"
    assert run_shell(words, fails_in=0) == ""
    assert (tmp_path / "changes").read_text() == "".join(f"{number}\n" for number in range(100))


def test_an_interrupted_report_of_a_bug_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    def program() -> int:
        raise RuntimeError("boom")

    monkeypatch.setattr(error_boundary, "report", interrupt)
    assert error_boundary.guarded(program) == 130
    assert capsys.readouterr().err == ""
