"""A mirror on a real ZFS: no byte is written while its dataset is not mounted."""

import contextlib
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.hooks import zfs
from runner.plugin_api import Abort, Job
from tests.e2e.parts import ConfigRepository, Server, Worker, wait_until

POOL = "skipjacktest"


def command(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def succeeds(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def unmount(dataset: str) -> None:
    wait_until(lambda: succeeds("zfs", "umount", dataset), f"{dataset} is unmounted; it may be busy for a moment")


class ZfsFuse(Server):
    """The daemon of ZFS in user space, with one pool in a file."""

    def __init__(self, folder: Path) -> None:
        for path in ("/run/lock/zfs", "/run/zfs"):
            Path(path).mkdir(parents=True, exist_ok=True)
        self.folder = folder
        super().__init__(["zfs-fuse", "--no-daemon"], folder / "zfs-fuse.log")

    def ready(self) -> bool:
        """Whether it answers."""
        return succeeds("zpool", "list")

    def start(self) -> None:
        super().start()
        with (self.folder / "pool.img").open("wb") as file:
            file.truncate(128 * 1024**2)
        command("zpool", "create", "-m", "none", POOL, str(self.folder / "pool.img"))

    def stop(self, number: int = 15) -> int:
        with contextlib.suppress(TimeoutError):  # a dataset may be busy for a moment
            wait_until(lambda: succeeds("zpool", "destroy", "-f", POOL), "the pool is destroyed")
        code = super().stop(number)
        subprocess.run(["umount", "--lazy", "/zfs-kstat"], capture_output=True, check=False)
        return code


@pytest.fixture(scope="module")
def pool() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="skipjack-zfs-"))
    with ZfsFuse(folder):
        command("zfs", "create", f"{POOL}/mirrors")
        yield f"{POOL}/mirrors"
    shutil.rmtree(folder)


def test_a_mirror_is_synced_only_while_its_dataset_is_mounted(
    pool: str, tmp_path: Path, repository: ConfigRepository
) -> None:
    """Do what the messages say, and nothing else."""
    worker = Worker(tmp_path / "w of ü", "w1", repository.url)
    directory = worker.root / "m"
    text = f"provider: command\nupstream: x\nzpool: {pool}\nmin_free_space: 0B\ncommand: touch filled\n"
    repository.commit({"m.yml": text}, "Declare m")

    worker.command("once", check=False)
    refused = worker.run_of("m")
    assert (refused.status, refused.attempts, directory.exists()) == ("refused", 0, False)
    create, mount = re.findall("`(.*?)`", refused.reason)

    command(*shlex.split(create))
    worker.command("run", "m")
    assert worker.run_of("m").status == "success"

    unmount(f"{pool}/m")
    worker.command("run", "m", check=False)
    assert worker.run_of("m").reason == refused.reason
    assert list(directory.iterdir()) == [], "the folder below is empty"

    command(*shlex.split(mount))
    assert [path.name for path in directory.iterdir()] == ["filled"]
    worker.command("run", "m")
    assert worker.run_of("m").status == "success"
    assert command("zfs", "list", "-H", "-o", "name", str(directory)) == f"{pool}/m\n"


def test_the_messages_are_enough_to_accept_an_emptied_dataset(
    pool: str, tmp_path: Path, repository: ConfigRepository
) -> None:
    worker, done = Worker(tmp_path / "w", "w1", repository.url), tmp_path / "done"
    text = (
        f"provider: command\nupstream: x\nzpool: {pool}\nmin_free_space: 0B\nretry: 2\n"
        f"exec_on_success: [sh -c 'echo >> {done}']\ncommand: "
    )
    repository.commit({"emptied.yml": f"{text}touch filled\n"}, "Declare it")
    command("zfs", "create", "-o", f"mountpoint={worker.root / 'emptied'}", f"{pool}/emptied")
    worker.command("once")
    repository.commit({"emptied.yml": f"{text}rm -f filled\n"}, "Empty it")
    worker.command("follow")

    worker.command("run", "emptied", check=False)

    refused = worker.run_of("emptied")
    assert (refused.status, refused.attempts) == ("refused", 1)
    assert refused.reason.startswith("no file is left: 1 of 1 files (0 B) are gone since the last accepted success")
    worker.command("run", "emptied", check=False)
    assert (worker.run_of("emptied").status, done.read_text()) == ("refused", "\n")
    for _typed in range(2):  # ZFS in user space cannot tell the emptied dataset from another one
        if worker.run_of("emptied").status == "refused":
            said = re.findall("`skipjack (.*?)`", worker.run_of("emptied").reason)[-1]
            worker.command(*said.split(), check=False)
    assert (worker.run_of("emptied").status, done.read_text()) == ("success", "\n\n")
    worker.command("run", "emptied")


def refusal(job: Job) -> str:
    with pytest.raises(Abort) as raised:
        zfs.pre_job(job)
    return raised.value.reason


def test_a_dataset_of_another_pool_or_a_hidden_one_is_not_used(pool: str, tmp_path: Path) -> None:
    from tests.system.test_btrfs import job_on

    job = job_on(tmp_path)
    place = Path(job.directory)
    job.mirror = job.mirror._replace(zpool=pool)
    command("zfs", "create", "-p", "-o", f"mountpoint={place}", f"{POOL}/mirrors2/debian")
    assert refusal(job) == (
        f"{place} is the ZFS dataset {POOL}/mirrors2/debian, which does not lie below {pool};"
        " correct `zpool` or mount another dataset there"
    )
    unmount(f"{POOL}/mirrors2/debian")
    command("zfs", "create", "-o", f"mountpoint={place}", f"{pool}/debian")
    zfs.pre_job(job)

    for hiding in (place, place.parent):
        command("mount", "-t", "tmpfs", "tmpfs", str(hiding))
        place.mkdir(exist_ok=True)
        try:
            assert "is not the mount point of a ZFS dataset" in refusal(job)
        finally:
            command("umount", str(hiding))
        zfs.pre_job(job)

    (place / "below").mkdir()
    job.directory = str(place / "below")
    assert "is not the mount point of a ZFS dataset" in refusal(job), "a folder in one is none"


def test_a_link_to_a_dataset_is_one(pool: str, tmp_path: Path) -> None:
    from tests.system.test_btrfs import job_on

    job = job_on(tmp_path)
    job.mirror = job.mirror._replace(zpool=pool)
    command("zfs", "create", "-o", f"mountpoint={tmp_path}/data", f"{pool}/data")
    Path(job.directory).parent.mkdir(parents=True)
    Path(job.directory).symlink_to(tmp_path / "data")
    zfs.pre_job(job)
