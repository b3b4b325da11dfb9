"""Snapshots on a real Btrfs: what is published, what readers see meanwhile, and what a killed run leaves."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.base.mirror_paths import Paths
from runner.hooks import btrfs, btrfs_snapshot
from runner.plugin_api import Abort, Job
from schemas.records import Mirror
from tests.e2e.parts import ConfigRepository, Worker

REPOSITORY = Path(__file__).parents[2]
NOBODY = 65534

MakeMount = Callable[..., Path]


@pytest.fixture
def mount() -> Iterator[MakeMount]:
    """What mounts a new Btrfs with the options that it is given; anybody may go to it and write there."""
    folder = Path(tempfile.mkdtemp(prefix="skipjack-btrfs-"))
    folder.chmod(0o755)
    mounted: list[Path] = []

    def new(*options: str) -> Path:
        place, image = folder / f"disk{len(mounted)}", folder / f"image{len(mounted)}"
        place.mkdir()
        with image.open("wb") as file:
            file.truncate(256 * 1024**2)
        subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True, capture_output=True)
        subprocess.run(["mount", "-o", ",".join(("loop", *options)), str(image), str(place)], check=True)
        mounted.append(place)
        place.chmod(0o777)
        return place

    yield new
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)
    shutil.rmtree(folder)


@pytest.fixture
def disk(mount: MakeMount) -> Path:
    return mount("user_subvol_rm_allowed")


def job_on(disk: Path, snapshots: Path | None = None) -> Job:
    (disk / "mirrors").mkdir(exist_ok=True)
    mirror = Mirror("debian", "w1", "command", "x", btrfs_snapshot=True, mirror_subdir="os")
    places = (disk / "mirrors/os/debian", disk / "mirrors", disk / "logs", (snapshots or disk / "snapshots") / "debian")
    return Job(mirror, Paths(*map(str, places)))


def sync(job: Job, text: str) -> None:
    """What a successful run does with the mirror, its provider's part being one file."""
    btrfs_snapshot.pre_job(job)
    (Path(job.directory) / "serial").write_text(text)
    btrfs_snapshot.post_success(job)


def published(job: Job) -> str:
    return (Path(job.snapshot) / "serial").read_text()


def snapshots(job: Job) -> list[str]:
    return sorted(path.name for path in Path(job.snapshot).parent.iterdir())


@contextlib.contextmanager
def rights_of(user: int) -> Iterator[None]:
    """What happens within has another user's rights."""
    os.setegid(user)
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_each_success_publishes_the_mirror_read_only_and_a_failure_does_not(
    disk: Path, tmp_path: Path, repository: ConfigRepository
) -> None:
    worker = Worker(tmp_path / "w", "w1", repository.url)
    worker.root.rmdir()
    worker.root.symlink_to(disk)
    with worker.settings.open("a") as settings:
        settings.write(f"snapshot_root: {disk}/published/here\n")
    text = (
        "provider: command\nupstream: x\nbtrfs_snapshot: true\nmin_free_space: 0B\ntrace: host\n"
        f"command: sh -c 'echo synced >> log; [ ! -e {disk}/fail ]'\n"
        f"exec_on_success: [cat {disk}/published/here/m/project/trace/host]\n"
    )
    repository.commit({"m.yml": text}, "Declare m")

    def shown() -> tuple[str, str, int]:
        return worker.run_of("m").status, worker.run_of("m").log_tail, len((snapshot / "log").read_text().splitlines())

    snapshot = disk / "published/here/m"
    worker.command("once", check=False)
    assert (shown()[0], shown()[2]) == ("success", 1)
    assert "Running on host" in (tmp_path / "w/logs/m/latest").read_text(), "commands see it with its trace"
    (disk / "fail").touch()
    worker.command("run", "m", check=False)
    assert (shown()[0], shown()[2]) == ("failed", 1)
    (disk / "fail").unlink()
    worker.command("run", "m")
    assert shown() == ("success", "", 3)
    repository.commit({"m.yml": text.replace("echo synced >> log;", "rm -r ./*;")}, "Empty it")
    worker.command("follow")
    worker.command("run", "m", check=False)
    for _again in range(2):
        assert (shown()[0], shown()[2]) == ("refused", 3), "what lost all files is not published"
        reason = worker.run_of("m").reason
        assert reason.startswith("no file is left: 1 of 1 files (21 B) are gone since the last accepted success")
        assert reason.endswith("If that is right, run `skipjack run m --max-delete 100%`")
        worker.command("run", "m", check=False)

    repository.commit({"m.yml": text.replace("echo synced >> log;", "rm -rf ./*;")}, "Keep it empty")
    worker.command("follow")
    worker.command("run", "m", "--max-delete", "100%")
    assert not (snapshot / "log").exists(), "the operator's word is enough"

    assert "Flags: \t\t\treadonly" in subprocess.check_output(["btrfs", "subvolume", "show", snapshot], text=True)
    with pytest.raises(OSError, match="Read-only file system"):
        (snapshot / "x").touch()
    found = subprocess.check_output(["btrfs", "subvolume", "list", str(disk)], text=True)
    assert sorted(line.split()[-1] for line in found.splitlines()) == ["m", "published/here/m"]


READER = """
import os, sys
path, stop = sys.argv[1:]
missing, seen, looks = 0, set(), 0
print("ready", flush=True)
while not os.path.exists(stop):
    looks += 1
    try:
        folder = os.open(path, os.O_DIRECTORY)
    except FileNotFoundError:
        missing += 1
        continue
    try:
        with open("serial", opener=lambda name, flags: os.open(name, flags, dir_fd=folder)) as file:
            seen.add(file.read())
    except FileNotFoundError:
        pass  # that snapshot has been deleted meanwhile
    os.close(folder)
print(looks, missing, len(seen))
"""


def test_readers_find_a_snapshot_at_every_moment(disk: Path) -> None:
    job = job_on(disk)
    sync(job, "0")
    words = [sys.executable, "-c", READER, job.snapshot, str(disk / "stop")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as reader:
        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            for number in range(1, 101):
                sync(job, str(number))
        finally:
            (disk / "stop").touch()
        looks, missing, seen = map(int, reader.stdout.readline().split())
    assert job.complaints == []
    assert published(job) == "100"
    assert seen > 20 and looks > 1000, "it looked while they were changed"
    assert missing == 0


@pytest.mark.parametrize("user", [0, NOBODY])
def test_the_rights_of_a_run_are_enough(disk: Path, user: int) -> None:
    with rights_of(user):
        job = job_on(disk)
        sync(job, "0")
        with (Path(job.snapshot) / "serial").open() as file:
            for text in ("1", "2", "3"):
                sync(job, text)
                assert (published(job), snapshots(job), job.complaints) == (text, ["debian"], [])
            assert file.read() == "0", "a download that has begun goes on"
    assert Path(job.snapshot).stat().st_uid == user


def test_without_the_mount_option_an_ordinary_user_gets_a_message_and_the_new_snapshot_stays(mount: MakeMount) -> None:
    disk = mount()
    with rights_of(NOBODY):
        job = job_on(disk)
        sync(job, "1")
        assert job.complaints == []
        sync(job, "2")
    assert job.complaints == [
        f"the snapshot is not up to date: {disk}/snapshots/.debian.new: it cannot be deleted (Operation not permitted);"
        " mount the file system with `user_subvol_rm_allowed`"
    ]
    assert published(job) == "2"
    subprocess.run(["mount", "-o", "remount,user_subvol_rm_allowed", str(disk)], check=True)
    with rights_of(NOBODY):
        job.complaints.clear()
        sync(job, "3")
    assert (published(job), snapshots(job), job.complaints) == ("3", ["debian"], [])


PUBLISH = """
import sys
repository, directory, root, snapshot = sys.argv[1:]
sys.path.insert(0, repository)
from runner.plugin_api import Job
from runner.hooks import btrfs_snapshot
from runner.base.mirror_paths import Paths
from schemas.records import Mirror
job = Job(Mirror("debian", "w1", "command", "x", btrfs_snapshot=True), Paths(directory, root, "", snapshot))
btrfs_snapshot.post_success(job)
sys.exit(job.complaints[0] if job.complaints else 0)
"""


def publish_and_kill(job: Job, call: str, number: int) -> bool:
    """Publish in a process that strace kills as it enters a call for the n-th time; False when it never does."""
    words = ["strace", "-f", "-qq", "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
    words += [sys.executable, "-I", "-S", "-c", PUBLISH, str(REPOSITORY)]
    places = (job.directory, job.mirror_root, job.snapshot)
    done = subprocess.run([*words, *places], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "killed by SIGKILL" in done.stderr, done.stderr
    return done.returncode != 0


@pytest.mark.parametrize("before", ["", "old"])
@pytest.mark.parametrize("call", ["ioctl", "renameat2"])
def test_killed_before_any_step_one_snapshot_is_published_and_the_next_success_tidies_up(
    disk: Path, call: str, before: str
) -> None:
    job = job_on(disk)
    (disk / "snapshots").mkdir()
    left: list[list[str]] = []
    is_killed = True
    while is_killed:
        if before:
            sync(job, before)
        elif Path(job.snapshot).exists():
            btrfs.delete(job.snapshot)
        btrfs_snapshot.pre_job(job)
        (Path(job.directory) / "serial").write_text("new")

        is_killed = publish_and_kill(job, call, len(left) + 1)

        left.append(snapshots(job))
        if before or "debian" in left[-1]:
            assert published(job) in ("new", before)
            assert btrfs.is_read_only(job.snapshot)
        sync(job, "newer")
        assert (published(job), snapshots(job), job.complaints) == ("newer", ["debian"], [])
    aside, first = ".debian.new", ["debian"] if before else []
    assert left[-1] == ["debian"]
    if call == "renameat2":
        assert left[:-1] == [[aside, *first]], "killed when the new one was made"
    else:
        assert first in left, "killed before it was made"
        assert not before or left[-2] == [aside, "debian"], "killed before the old one was deleted"


def test_a_snapshot_cannot_lie_on_another_file_system(mount: MakeMount, tmp_path: Path) -> None:
    disk, other = mount(), mount()
    for folder in (tmp_path, other):
        job = job_on(disk, folder)
        sync(job, "1")
        assert job.complaints == [
            f"the snapshot is not up to date: {folder}/.debian.new: it is not on the Btrfs file system of"
            f" {job.directory}; set another `snapshot_root` in the settings"
        ]
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "subvolume", "link", "file"])
def test_only_a_snapshot_is_replaced(disk: Path, kind: str) -> None:
    job = job_on(disk)
    place = Path(job.snapshot)
    place.parent.mkdir()
    sync(job_on(disk, disk / "elsewhere"), "precious")
    match kind:
        case "folder":
            place.mkdir()
        case "subvolume":
            btrfs.create(str(place))
        case "link":
            place.symlink_to(disk / "elsewhere/debian")
        case "file":
            place.touch()

    sync(job, "1")

    (complaint,) = job.complaints
    assert complaint.endswith(f"{place}: it is not a read-only snapshot and is not replaced; move it away")
    assert snapshots(job) == ["debian"]
    assert (disk / "elsewhere/debian/serial").read_text() == "precious"


def test_a_missing_directory_becomes_a_subvolume_and_a_plain_one_is_refused(disk: Path) -> None:
    job = job_on(disk)
    btrfs_snapshot.pre_job(job)
    assert btrfs.is_subvolume(job.directory) and not btrfs.is_subvolume(str(Path(job.directory).parent))
    btrfs_snapshot.pre_job(job)
    btrfs.delete(job.directory)
    Path(job.directory).mkdir()
    with pytest.raises(Abort, match="is not a Btrfs subvolume, which `btrfs_snapshot` needs; move it away"):
        btrfs_snapshot.pre_job(job)
    assert not btrfs.is_subvolume(job.directory)


def test_a_disk_that_has_turned_read_only_is_reported_and_the_old_snapshot_stays(disk: Path) -> None:
    job = job_on(disk)
    sync(job, "1")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    btrfs_snapshot.post_success(job)
    (complaint,) = job.complaints
    assert complaint.endswith("Read-only file system")
    assert published(job) == "1"


def test_the_snapshot_and_the_subvolume_of_a_removed_mirror_are_pruned(
    disk: Path, tmp_path: Path, repository: ConfigRepository
) -> None:
    worker = Worker(tmp_path / "w", "w1", repository.url)
    worker.root.rmdir()
    worker.root.symlink_to(disk)
    snapshots = disk / "published/here"
    with worker.settings.open("a") as settings:
        settings.write(f"snapshot_root: {snapshots}\n")
    text = "provider: command\nupstream: x\nbtrfs_snapshot: true\nmin_free_space: 0B\ncommand: touch file\n"
    repository.commit({"gone.yml": text, "stays.yml": text}, "Add two")
    worker.command("once")
    btrfs.snapshot(str(disk / "gone"), str(snapshots / ".gone.new"))  # as a killed run leaves it
    (snapshots / "folder").mkdir()
    btrfs.create(str(snapshots / "writable"))
    repository.commit({"gone.yml": None}, "Remove one")
    worker.command("follow")

    worker.command("prune", "--yes")
    assert {path.name for path in snapshots.iterdir()} == {"stays", "folder", "writable"}
    assert (disk / "gone/file").exists()
    worker.command("prune", "--data", "--yes")
    assert {path.name for path in disk.iterdir()} == {"stays", "published"}
    assert (snapshots / "stays/file").exists() and (disk / "stays/file").exists()
    assert "nothing on this machine is without a definition" in worker.command("drift").stdout
