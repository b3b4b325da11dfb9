"""Disks that are not mounted, and new ones in their place: real file systems."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base.mirror_paths import Paths, is_missing_or_empty
from runner.hooks import missing_files
from runner.journal.last_success import Past, identity_of
from runner.plugin_api import Abort, Job
from schemas.records import Mirror


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A mount point with a new ext4 on it."""
    image, place = tmp_path / "image", tmp_path / "mirrors/debian"
    place.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(16 * 1024**2)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)


def job_in(directory: Path) -> Job:
    mirror = Mirror("debian", "w1", "command", "x")
    job = Job(mirror, Paths(str(directory), str(directory.parent), str(directory.parent / "logs")))
    job.past = Past(success_at=100.0, files_in=str(directory))
    return job


def test_a_disk_that_is_not_mounted_and_a_new_one_are_refused(disk: Path) -> None:
    assert [path.name for path in disk.iterdir()] == ["lost+found"]
    with pytest.raises(Abort, match="is empty, but the last success") as new:
        missing_files.pre_job(job_in(disk))
    assert new.value.status == "refused"

    (disk / "file").touch()
    missing_files.pre_job(job_in(disk))
    emptied = job_in(disk)
    emptied.past = emptied.past._replace(emptied=identity_of(str(disk)))
    (disk / "file").unlink()
    missing_files.pre_job(emptied)

    subprocess.run(["umount", str(disk)], check=True)
    with pytest.raises(Abort, match="is empty, but the last success"):
        missing_files.pre_job(emptied)


def test_a_new_disk_is_not_the_one_that_a_killed_run_may_have_emptied(disk: Path) -> None:
    killed = job_in(disk)
    killed.past = killed.past._replace(emptied=identity_of(str(disk)))
    subprocess.run(["umount", str(disk)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(disk.parent.parent / "image")], check=True)
    subprocess.run(["mount", "-o", "loop", str(disk.parent.parent / "image"), str(disk)], check=True)
    with pytest.raises(Abort, match="is empty, but the last success"):
        missing_files.pre_job(killed)


def test_a_folder_of_that_name_is_something_where_no_disk_is_mounted(disk: Path) -> None:
    plain = disk / "below"
    (plain / "lost+found").mkdir(parents=True)
    (plain / "lost+found/#12345").touch()
    assert not is_missing_or_empty(str(plain))
    link = disk.parent / "link"
    shutil.rmtree(plain)
    link.symlink_to(disk)
    assert is_missing_or_empty(str(link))
