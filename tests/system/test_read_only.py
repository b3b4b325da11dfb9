"""A manager whose file system turns read-only under it, as one does whose disk fails."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sitegen.kit import Manager, envelope_of, report_of, status_of


def do(*words: object) -> str:
    return subprocess.run([*map(str, words)], check=True, capture_output=True, text=True, timeout=60).stdout.strip()


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
        do("umount", self.folder)
        subprocess.run(["e2fsck", "-fy", self.image], capture_output=True, timeout=60)  # 1 says that it has mended it
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
    assert "cannot be used now: " in refused.json()["error"]
    assert manager.get("/jobs")[0]["status"] == "success", "reading goes on"


def test_what_was_acknowledged_outlives_a_disk_that_turned_read_only(manager: Manager, disk: Disk) -> None:
    token = manager.token()
    with manager.serving():
        assert manager.post(envelope_of(report_of(1, status_of())), token).json()["acknowledged"] == 1
        disk.fail()
        refuses(manager, token)
        refuses(manager, token)
    disk.repair()
    assert manager.command("check").returncode == 0
    with manager.serving():
        assert manager.get("/jobs")[0]["status"] == "success"
        assert manager.post(envelope_of(report_of(2, status_of("debian", "failed"))), token).json()["acknowledged"] == 2
