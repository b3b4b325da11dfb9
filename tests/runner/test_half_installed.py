"""A lean program in the middle of an upgrade, when some of its modules are missing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.parts import REPOSITORY


@pytest.mark.parametrize(
    "gone",
    [
        "schemas/errors.py",
        "schemas/standard_streams.py",
        "schemas/error_boundary.py",
        "runner/error_boundary.py",
        "runner/base/start_requests.py",
        "runner/base/next_wake.py",
        "runner/tick/tick.py",
        "runner/tick/cycle.py",
    ],
)
def test_a_tick_without_all_modules_ends_as_a_bug_so_that_systemd_tries_again(tmp_path: Path, gone: str) -> None:
    for room in ("runner", "schemas"):
        shutil.copytree(REPOSITORY / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / gone).unlink()
    state = tmp_path / "state"
    state.mkdir()
    (state / "plan.db").touch()
    words = [sys.executable, "-I", "-S", str(tmp_path / "runner/tick/entry.py"), "tick", str(state)]
    ended = subprocess.run(words, check=False, capture_output=True, text=True)
    assert ended.returncode == 3, ended.stderr
    assert "No module named" in ended.stderr or "cannot import name" in ended.stderr
