"""Each command of the manager, run by a user without root."""

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from schemas import sqlite_database
from sitegen import cli
from sitegen.storage import lost_database

COMMANDS = (
    "check", "backup b.db", "token list", "token add w1", "token rotate 1", "token revoke 1", "publish --once", "serve",
    "audit", "forget w1",
)  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to another user")
@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_names_the_user_of_the_manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    def denied(path: object, *_arguments: object) -> NoReturn:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    state, settings = tmp_path / "state", tmp_path / "manager.yml"
    state.mkdir()
    os.chown(state, 65534, 65534)
    settings.write_text(f"state_dir: {state}\nrun_dir: {tmp_path}/run\nsite_dir: {tmp_path}/site\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    monkeypatch.setattr(sqlite_database, "make", denied)
    monkeypatch.setattr(lost_database, "require_file", lambda *_arguments: None)
    monkeypatch.setattr("filelock.FileLock.acquire", lambda lock, **_named: denied(lock.lock_file))
    assert cli.main([*command.split(), "--settings", str(settings)]) == 1
    said = capsys.readouterr().err
    assert "This manager belongs to the user nobody: run the command as that user (`sudo -u nobody …`)" in said


def test_a_users_own_settings_take_precedence_over_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_system, own = tmp_path / "manager.yml", tmp_path / "skipjack/manager.yml"
    monkeypatch.setattr(cli, "DEFAULT_SETTINGS", of_system)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    own.parent.mkdir()
    for name, path in (("system", of_system), ("own", own)):
        path.write_text(f"state_dir: {tmp_path}/{name}\nrun_dir: {tmp_path}/run\nsite_dir: {tmp_path}/site\n")
    assert cli.main(["token", "list"]) == 0
    assert f"using {own}; the system's manager has `--settings {of_system}`" in capsys.readouterr().err
    assert ((tmp_path / "own").exists(), (tmp_path / "system").exists()) == (True, False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert cli.main(["token", "list"]) == 0
    assert (capsys.readouterr().err, (tmp_path / "system").exists()) == ("", True)
