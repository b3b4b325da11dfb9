"""The documented commands for a rollback, with fakes of other programs: which files they overwrite."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import blocks, commands

FILES = ("journal.db", *(f"journal.db-{ending}" for ending in ("wal", "shm", "journal", "mark", "reserve")))


class RollbackFolder:
    """A state directory with a newer journal, and the copy that its migration left."""

    def __init__(self, folder: Path) -> None:
        self.state, self._programs, self._folder = folder / "state", folder / "bin", folder
        self.state.mkdir()
        self._programs.mkdir()
        for name in ("systemctl", "skipjack"):
            self.program(name, "")
        self.upgrade("first")

    def program(self, name: str, text: str) -> None:
        """Put a program in the place of a real one."""
        path = self._programs / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def upgrade(self, what: str) -> None:
        """What a release with other tables leaves; `what` is in its journal."""
        for name in FILES:
            (self.state / name).write_text(f"{what} {name}")
        (self.state / "journal.db-of-version-12").write_text(f"before {what}")

    def go_back(self, at: str) -> int:
        """Give the commands of the page at a moment; gives how the last one ended."""
        self.program("date", f"echo {at}")
        (block,) = (each for each in blocks("docs/systemd.md", "sh") if "of-version-" in each.text)
        script = "\n".join(commands(block)).replace("/var/lib/skipjack", str(self.state))
        script = script.replace("/opt/skipjack", f"{self._folder}/release")
        path = f"{self._programs}:{os.environ['PATH']}"
        done = subprocess.run(["/bin/bash", "-c", script], env={"PATH": path}, check=False, timeout=60)
        return done.returncode

    def files(self) -> dict[str, str]:
        """All files of the state directory with what is in them."""
        found = sorted(path for path in self.state.rglob("*") if path.is_file())
        return {str(path.relative_to(self.state)): path.read_text() for path in found}


@pytest.fixture
def machine(tmp_path: Path) -> RollbackFolder:
    return RollbackFolder(tmp_path)


def test_each_rollback_keeps_the_newer_journal(machine: RollbackFolder) -> None:
    assert machine.go_back("1") == 0
    first = {f"newer-1/{name}": f"first {name}" for name in FILES}
    copy = {"journal.db": "before first", "journal.db-of-version-12": "before first"}
    assert machine.files() == first | copy

    machine.upgrade("second")
    assert machine.go_back("2") == 0

    second = {f"newer-2/{name}": f"second {name}" for name in FILES}
    copy = {"journal.db": "before second", "journal.db-of-version-12": "before second"}
    assert machine.files() == first | second | copy


def test_a_folder_that_is_there_already_ends_it_before_anything_changes(machine: RollbackFolder) -> None:
    assert machine.go_back("1") == 0
    machine.upgrade("second")
    before = machine.files()
    assert machine.go_back("1") != 0
    assert machine.files() == before


def test_without_the_copy_nothing_changes(machine: RollbackFolder) -> None:
    (machine.state / "journal.db-of-version-12").unlink()
    before = machine.files()
    assert machine.go_back("1") != 0
    assert machine.files() == before


def test_while_a_program_is_at_work_nothing_changes(machine: RollbackFolder) -> None:
    machine.program("systemctl", '[ "$1" = stop ] || echo "skipjack-tick.service loaded activating"')
    before = machine.files()
    assert machine.go_back("1") != 0
    assert machine.files() == before
