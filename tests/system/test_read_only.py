"""A manager whose file system turns read-only under it, as one does whose disk fails."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sitegen.kit import Manager, envelope_of, report_of, status_of, wait_for


def do(*words: object) -> str:
    return subprocess.run([*map(str, words)], check=True, capture_output=True, text=True, timeout=300).stdout.strip()


class Disk:
    """An ext4 in a file, mounted in a folder."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.image, self.folder = image, folder
        folder.mkdir()
        do("truncate", "-s", "16M", image)
        do("mkfs.ext4", "-q", image)
        self.mount()

    def mount(self) -> None:
        do("mount", "-o", "loop,errors=remount-ro", self.image, self.folder)

    def fail(self) -> None:
        """Let the kernel find an error, upon which nothing is written any more."""
        device = Path(do("findmnt", "-no", "SOURCE", self.folder)).name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")

    def repair(self) -> None:
        """Put a repaired copy in its place; who has files of the failed disk open still has those."""
        do("umount", "--lazy", self.folder)
        self.image = Path(shutil.copy(self.image, self.image.with_suffix(".repaired")))
        subprocess.run(["e2fsck", "-fy", self.image], capture_output=True, timeout=300)  # 1: it was repaired
        self.mount()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.session.close()


@pytest.fixture
def disk(manager: Manager) -> Iterator[Disk]:
    made = Disk(manager.folder / "image", manager.state)
    yield made
    do("umount", "--lazy", manager.state)


def refuses(manager: Manager, token: str) -> None:
    refused = manager.post(envelope_of(report_of(2, status_of("debian", "failed"))), token)
    assert refused.status_code == 503
    assert "cannot use the manager's database: " in refused.json()["error"]
    assert manager.get("/jobs")[0]["status"] == "success", "reading goes on"


def test_acknowledged_reports_survive_a_disk_that_turned_read_only(manager: Manager, disk: Disk) -> None:
    token = manager.token()
    with manager.serving(), manager.publishing():
        assert manager.post(envelope_of(report_of(1, status_of())), token).json()["acknowledged"] == 1
        wait_for(lambda: shown(manager) == "success", "the site tells of it")
        disk.fail()
        refuses(manager, token)
        refuses(manager, token)
        checked = manager.command("check")
        assert checked.returncode == 0, checked.stderr
        disk.repair()
        answer = manager.post(envelope_of(report_of(2, status_of("debian", "failed"))), token)
        assert answer.json().get("acknowledged") == 2, answer.text
        wait_for(lambda: shown(manager) == "failed", "neither of them was started again")
    assert manager.command("check").returncode == 0


def shown(manager: Manager) -> str:
    """Return the status that the site shows, empty for none."""
    return "".join(mirror["status"] for mirror in manager.status()["mirrors"])


@pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])
def test_a_database_on_a_disk_that_cannot_be_written_is_checked_and_copied(
    manager: Manager, disk: Disk, killed: bool
) -> None:
    assert disk.folder == manager.state
    token, copy = manager.token(), manager.folder / "copy.db"
    with manager.serving() as process:
        assert manager.post(envelope_of(report_of(1, status_of())), token).json()["acknowledged"] == 1
        if killed:
            process.kill()
            process.wait()
    (manager.state / "manager.db-shm").unlink(missing_ok=True)
    assert (manager.state / "manager.db-wal").exists() is killed
    before = contents(manager.state)
    do("mount", "-o", "remount,ro", manager.state)
    for words in (["check"], ["backup", str(copy)]):
        done = manager.command(*words)
        assert done.returncode == 0, done.stderr
    assert contents(manager.state) == before
    for command, why in (("serve", "Read-only file system"), ("publish", "Check the disk")):
        refused = manager.command(command)
        assert (refused.returncode, why in refused.stderr) == (1, True), refused.stderr
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT mirror FROM mirror_state").fetchall() == [("debian",)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_user_who_may_not_write_beside_the_database_is_referred_to_the_owner() -> None:
    with tempfile.TemporaryDirectory() as folder:
        manager = Manager(Path(folder))
        manager.store().close()
        for path in (manager.folder, manager.state, manager.state / "manager.db"):
            path.chmod(0o755)
        for words in (["check"], ["backup", "/dev/shm/skipjack-copy.db"]):
            assert manager.run_here(*words).returncode == 0, "a user with the rights"
            for path in manager.state.glob("manager.db-*"):
                path.unlink()
            os.seteuid(65534)
            try:
                refused = manager.run_here(*words)
            finally:
                os.seteuid(0)
            assert refused.returncode == 1
            assert "This manager belongs to root: run the command as root" in refused.stderr
        Path("/dev/shm/skipjack-copy.db").unlink()
