"""Temporary folders of commands that people type."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.base import scratch_folder

OTHER = """
import sys
from pathlib import Path
from runner.base import scratch_folder
with scratch_folder.opened() as folder:
    Path(folder, "patterns").mkdir()
    Path(folder, "patterns/x").write_text("secret")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


@contextmanager
def another() -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """Run another command that has a folder, which seems to be an hour old."""
    with subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        os.utime(folder, (0, 0))
        yield process, folder


def test_a_folder_is_removed_at_the_end() -> None:
    with scratch_folder.opened() as folder:
        Path(folder, "x").write_text("x")
    assert not Path(folder).exists()


def test_the_folder_of_a_killed_command_is_removed_by_the_next_one() -> None:
    with another() as (process, folder):
        process.kill()
    assert (folder / "patterns/x").exists()
    with scratch_folder.opened():
        assert not folder.exists()


def test_the_folder_of_an_active_command_and_other_names_stay(tmp_path: Path) -> None:
    with another() as (_process, folder):
        new, link, other = (folder.with_name(f"{folder.name}{end}") for end in ("new", "link", "file"))
        new.mkdir()
        link.symlink_to(tmp_path)
        other.write_text("x")
        os.utime(other, (0, 0))
        with scratch_folder.opened():
            assert (folder / "patterns/x").exists()
        assert new.exists() and link.is_symlink() and other.exists()
    assert not folder.exists()
