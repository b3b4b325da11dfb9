"""Messages about a run directory that cannot be used."""

import os
import pwd
from pathlib import Path

import pytest

from runner.base import runtime_dir


def test_a_folder_of_another_user_needs_chown_and_not_a_boot_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    missing = runtime_dir.make(str(tmp_path))
    user = pwd.getpwuid(os.geteuid()).pw_name
    assert missing is not None and "it belongs to another user" in missing.what
    assert missing.todo == f"Give it to the worker's user as root: `chown -R {user}: {tmp_path}`."


def test_a_folder_that_cannot_be_created_needs_a_boot_script(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    missing = runtime_dir.make(str(tmp_path / "run"))
    assert missing is not None and "`skipjack install --cron`" in missing.todo
    assert runtime_dir.make(str(tmp_path / "other")) is None
