import argparse
import json
import os
from pathlib import Path

import pytest

from schemas.errors import SkipjackError
from sitegen import boundary, cli
from sitegen.storage import audit_store
from tests.sitegen.kit import Manager, envelope_of, report_of, status_of, wait_for


def test_stdout_has_only_the_token(manager: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(["token", *words, "--settings", str(manager.settings_file)])
        return code, *capsys.readouterr()

    code, secret, note = run("add", "w1")
    assert (code, len(secret)) == (0, 44)
    assert "Token 1 for worker w1" in note
    assert secret.strip().encode() not in (manager.state / "manager.db").read_bytes()
    assert "w1" in run("list")[1]
    assert run("revoke", "1")[0] == 0
    code, out, note = run("revoke", "1")
    assert (code, out, note.count("\n")) == (1, "", 1)
    assert "token list" in note


def test_the_audit_lists_token_changes_as_text_and_json(manager: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*words: str) -> str:
        assert cli.main([*words, "--settings", str(manager.settings_file)]) == 0
        return capsys.readouterr().out

    run("token", "add", "alice", "--scope", "operator")
    run("token", "revoke", "1")
    words = run("audit").splitlines()
    assert len(words) == 2
    assert 'from command line: token add alice token=1 scope="operator"' in words[0]
    told = [json.loads(line) for line in run("audit", "--json", "--since", "1h").splitlines()]
    assert [(entry["action"], entry["subject"]) for entry in told] == [
        ("token add", "alice"),
        ("token revoke", "alice"),
    ]
    assert run("audit", "--since", "2100-01-01") == ""


def test_forget_removes_a_worker_and_keeps_its_history(manager: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["forget", "w1", "--settings", str(manager.settings_file)]
    assert cli.main(words) == 1
    assert "unknown worker `w1`: it never reported." in capsys.readouterr().err
    token = manager.token()
    with manager.serving():
        manager.post(envelope_of(report_of(1, status_of())), token)
        assert [worker["name"] for worker in manager.get("/api/v1/workers")["workers"]] == ["w1"]
        assert cli.main(words) == 0
        assert "revoke its token" in capsys.readouterr().err
        wait_for(lambda: manager.get("/api/v1/workers")["workers"] == [], "a manager that serves notices")
        assert [run["mirror"] for run in manager.get("/api/v1/runs")["runs"]] == ["debian"]
        assert manager.post(envelope_of(report_of(2, status_of())), token).json()["want"] == "snapshot"
    with manager.store() as store:
        assert ("delete worker", "w1", "command line") in [entry[2:5] for entry in audit_store.read(store)]


def test_a_worker_needs_a_name(manager: Manager, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["token", "add", "../x", "--settings", str(manager.settings_file)]) == 1
    assert "is not a valid name" in capsys.readouterr().err


def test_missing_settings_are_a_clear_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["serve"], ["publish", "--once"], ["token", "list"]):
        assert cli.main([*words, "--settings", str(tmp_path / "none.yml")]) == 1
        assert f"cannot read the settings {tmp_path / 'none.yml'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [[], ["paint"], ["token"], ["token", "revoke", "one"], ["serve", "--colour"], ["audit", "--since", "x"]]
)
def test_wrong_usage_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["token", "revoke", "99999999999999999999"], "'99999999999999999999' is not the number of a token"),
        (["token", "rotate", "-1"], "usage:"),
        (["token", "rotate", "1", "--keep", "soon"], "'soon' is not a duration; write for example 12h or 7d"),
        (["audit", "--since", "yesterday"], "'yesterday' is not a time; write for example 7d"),
        (["audit", "--since", "xd"], "'xd' is not a duration; write for example 12h"),
    ],
)
def test_a_usage_error_shows_a_valid_example(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(words)
    assert said in capsys.readouterr().err


def fail(error: BaseException) -> int:
    def command() -> None:
        raise error

    return boundary.run(command)


def test_a_bug_writes_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assert fail(RuntimeError("boom")) == 3
    (report,) = tmp_path.iterdir()
    said = capsys.readouterr().err
    assert str(report) in said
    assert "RuntimeError: boom" in said
    assert "Traceback" not in said
    assert "Traceback" in report.read_text()


def test_a_report_goes_to_the_temporary_folder_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "none"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert fail(RuntimeError("boom")) == 3
    assert str(tmp_path) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [(SkipjackError("It broke.", "Fix it."), 1), (KeyboardInterrupt(), 130), (boundary.Terminated(), 143)],
)
def test_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(error) == code
    said = capsys.readouterr().err
    assert said == ("ERROR skipjack-manager: It broke. Fix it.\n" if code == 1 else "")


def test_every_command_has_help() -> None:
    parser = cli._parser()
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    assert set(commands.choices) == {"serve", "publish", "token", "audit", "forget", "backup", "check"}
    assert "STATE_DIRECTORY" not in os.environ
