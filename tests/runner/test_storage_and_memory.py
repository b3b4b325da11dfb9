"""The hooks for ZFS, Btrfs and memory, as far as they need no such file system and no control group."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from runner import hooks
from runner.base import mounts
from runner.base.mirror_paths import Paths
from runner.follow import unenforced_limits
from runner.hooks import btrfs_snapshot, control_group, memory, zfs
from runner.journal.journal import Ending
from runner.plugin_api import Abort, Job, Machine
from runner.providers import PROVIDERS
from runner.run import pipeline
from schemas.records import Mirror, Repository, RunnerSettings
from tests.runner.syncing import UNSTOPPED

MIB = 1024**2


@pytest.fixture
def job(tmp_path: Path) -> Job:
    mirror = Mirror(
        "debian", "w1", "command", "rsync://rsync.example.org/debian/", retry=1, retry_delay=0, command="true"
    )
    (tmp_path / "mirrors").mkdir()
    return Job(mirror, Paths(*(str(tmp_path / path) for path in ("mirrors/debian", "mirrors", "logs", "snapshots/x"))))


def change(job: Job, **fields: object) -> None:
    job.mirror = job.mirror._replace(**fields)  # type: ignore[arg-type]


def run(job: Job, *more: ModuleType) -> Ending:
    table = (*hooks.of(job.mirror), *more)
    means = pipeline.Means(PROVIDERS["command"], table, (), UNSTOPPED, lambda _number: None, lambda _much: None)
    return pipeline.run(job, means)


@pytest.mark.parametrize("there", [True, False])
def test_a_directory_that_is_not_a_zfs_dataset_is_refused(job: Job, tmp_path: Path, there: bool) -> None:
    job.directory = str(tmp_path / "mirrors/o'b  x")
    if there:
        Path(job.directory).mkdir()
    change(job, zpool="tank/mirror", command="touch filled")

    ending = run(job)

    quoted = f"""'{tmp_path}/mirrors/o'"'"'b  x'"""
    assert (ending.status, ending.reason) == (
        "refused",
        f"{job.directory} is not the mount point of a ZFS dataset; create it with"
        f" `zfs create -o mountpoint={quoted} tank/mirror/debian`, or mount it with"
        " `zfs mount tank/mirror/debian` if it is there already",
    )
    assert [path.name for path in (tmp_path / "mirrors").rglob("*")] == (["o'b  x"] if there else [])


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "mirrors/a b\t\\c\nünï"
    place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "skip jack", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_mounts_are_read_as_they_are_named(mounted: Path) -> None:
    found = [(mount.type, mount.source) for mount in mounts.mounts() if mount.place == str(mounted)]
    assert found == [("tmpfs", "skip jack")]


def test_a_mount_of_another_type_is_not_a_dataset(job: Job, mounted: Path) -> None:
    job.directory = str(mounted)
    change(job, zpool="skip")
    with pytest.raises(Abort, match="is not the mount point of a ZFS dataset"):
        zfs.pre_job(job)


def test_a_missing_directory_outside_btrfs_is_not_created_as_a_plain_one(job: Job) -> None:
    change(job, btrfs_snapshot=True)
    ending = run(job)
    assert ending.status == "failed"
    assert ending.reason.startswith(f"{job.directory} cannot be created as a Btrfs subvolume: it is not on a Btrfs")
    assert not Path(job.directory).exists()


def test_a_plain_directory_is_not_taken_for_a_subvolume(job: Job) -> None:
    Path(job.directory).mkdir()
    change(job, btrfs_snapshot=True)
    ending = run(job)
    assert (ending.status, ending.reason) == (
        "refused",
        f"{job.directory} is not a Btrfs subvolume, which `btrfs_snapshot` needs; move it away, and the next run"
        " creates one (`cp -a --reflink OLD/. NEW` then keeps the files)",
    )


@pytest.mark.parametrize("snapshot", ["mirrors/debian", "mirrors/debian/x", "mirrors", "link/debian"])
def test_a_snapshot_and_its_mirror_must_not_be_inside_one_another(job: Job, tmp_path: Path, snapshot: str) -> None:
    (tmp_path / "link").symlink_to("mirrors")
    job.snapshot = str(tmp_path / snapshot)
    change(job, btrfs_snapshot=True)
    ending = run(job)
    assert ending.status == "refused"
    assert re.search("would be inside one another; set another `snapshot_root`", ending.reason)


def test_no_subvolume_is_created_where_links_lead_out_of_the_root(job: Job, tmp_path: Path) -> None:
    Path(job.directory).symlink_to(tmp_path / "elsewhere")
    change(job, btrfs_snapshot=True)
    ending = run(job)
    assert ending.status == "refused" and "is really" in ending.reason


def test_a_snapshot_that_cannot_be_created_is_reported_beside_the_success(job: Job) -> None:
    job.snapshot = "/dev/null/x"
    change(job, btrfs_snapshot=True)
    btrfs_snapshot.post_success(job)
    assert job.complaints == ["the snapshot is not up to date: /dev/null: File exists"]


def test_a_limit_that_nothing_enforces_is_reported_once_and_in_each_log(job: Job) -> None:
    change(job, memory_limit=64 * MIB, command="false", retry=2, log_compress=False)

    ending = run(job)

    line = (
        "`memory_limit` is not enforced: there is neither systemd nor a control group; let systemd start the runs, or"
        " name a control group by `cgroup` in the machine's settings"
    )
    assert (ending.reason, job.complaints) == ("the command exited with 1", [line])
    logs = [path.read_text() for path in Path(job.log_dir).glob("*.fail")]
    assert [text.count(line) for text in logs] == [1, 1]


@pytest.mark.parametrize(
    ("group", "limit", "told"),
    [
        ("skipjack-run@debian.service", str(64 * MIB), ""),
        ("skipjack-run@debian.service", str(64 * MIB - 4096), ""),
        ("skipjack-run@debian.service", "max", "has no such limit; start the run with `skipjack start debian`"),
        ("skipjack-run@debian.service", str(2**63 - 4096), "has no such limit"),
        ("user.slice", str(MIB), "has no memory controller; install the units as root, without `--user`"),
    ],
)
def test_a_unit_without_a_memory_limit_is_reported_and_not_named_as_the_reason_of_a_kill(
    job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, group: str, limit: str, told: str
) -> None:
    """Like a user's units with control groups of version 1, which share one group for memory."""
    folder = tmp_path / group
    folder.mkdir()
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.events").write_text("oom_kill 1\n")
    monkeypatch.setattr(control_group, "is_unit", lambda name: name == "skipjack-run@debian.service")
    monkeypatch.setattr(control_group, "own", lambda: str(folder))
    change(job, memory_limit=64 * MIB)
    memory.pre_exec(job)
    (folder / "memory.events").write_text("oom_kill 2\n")  # somebody was killed meanwhile
    memory.post_exec(job)
    assert ("exceeded its `memory_limit`" in job.explanation) == (not told)
    assert job.complaints == [] if not told else told in job.complaints[0]


@pytest.mark.parametrize(
    ("launcher", "unified", "cgroup", "told"),
    [
        ("systemd", False, None, []),
        ("systemd --user", True, None, []),
        ("systemd --user", False, None, [(["m"], "units of a user have no memory controller here; ")]),
        ("", False, None, [(["m"], "runs are not systemd units here; ")]),
        ("", False, "/sys/fs/cgroup/x", []),
    ],
)
def test_limits_that_nothing_enforces_are_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, launcher: str, unified: bool, cgroup: str | None, told: list[Any]
) -> None:
    if launcher:
        (tmp_path / "launcher").write_text(launcher)
    monkeypatch.setattr(control_group, "is_unified", lambda: unified)
    settings = RunnerSettings("w1", Repository("x"), state_dir=str(tmp_path), cgroup=cgroup)
    mirrors = [Mirror("m", "w1", "command", "x", memory_limit=MIB), Mirror("n", "w1", "command", "x")]
    found = list(unenforced_limits.memory_limits(settings, mirrors))
    assert [(names, why[: len(begin)]) for (names, why), (_names, begin) in zip(found, told, strict=True)] == told


@pytest.mark.parametrize("fields", [{}, {"memory_limit": 64 * MIB, "docker_image": "mirror-tools:3"}])
def test_nothing_is_reported_without_a_limit_or_for_a_container(job: Job, fields: dict[str, object]) -> None:
    change(job, **fields)
    memory.pre_exec(job)
    memory.post_exec(job)
    assert (job.complaints, job.kept, job.explanation) == ([], {}, "")


@pytest.mark.parametrize(("parent", "why"), [("groups", "groups/debian: it has no memory controller"),
                                             ("missing", "missing/debian: No such file or directory")])  # fmt: skip
def test_a_group_that_cannot_enforce_a_limit_is_reported_and_the_run_continues(
    job: Job, tmp_path: Path, parent: str, why: str
) -> None:
    (tmp_path / "groups").mkdir()
    job.machine = Machine(cgroup=str(tmp_path / parent))
    change(job, memory_limit=64 * MIB)

    ending = run(job)

    assert ending.status == "success"
    (complaint,) = job.complaints
    assert complaint.startswith(f"`memory_limit` is not enforced: {tmp_path}/{why}; `cgroup` in the machine's settings")
    assert list((tmp_path / "groups").iterdir()) == [], "no group is left"


def test_the_controller_of_a_group_of_version_2_is_enabled_first(tmp_path: Path) -> None:
    """The kernel creates `memory.max` when the parent enables the controller; here nothing creates it."""
    switch = tmp_path / "cgroup.subtree_control"
    switch.touch()
    with pytest.raises(OSError, match="no memory controller"):
        control_group.make(str(tmp_path), "debian", 64 * MIB)
    assert switch.read_text() == "+memory"


V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"
V2 = "low 0\nhigh 0\nmax 12\noom 1\noom_kill 3\noom_group_kill 0\n"


@pytest.mark.parametrize(("name", "text", "count"), [("memory.oom_control", V1, 3), ("memory.events", V2, 3),
                                                     ("memory.oom_control", "under_oom 0\n", 0)])  # fmt: skip
def test_kills_are_counted_in_both_versions(tmp_path: Path, name: str, text: str, count: int) -> None:
    (tmp_path / name).write_text(text)
    assert control_group.kills(str(tmp_path)) == count


def test_no_kills_are_counted_without_a_group(tmp_path: Path) -> None:
    assert control_group.kills(str(tmp_path)) == control_group.kills("") == 0


def test_a_process_knows_whether_it_is_a_unit() -> None:
    memberships = [path for _controllers, path in control_group._memberships()]
    assert memberships
    assert not control_group.is_unit("skipjack-run@debian.service")


def knowing(text: str) -> ModuleType:
    """A hook that explains the failure of the first attempt."""
    hook = ModuleType("knowing")

    def post_exec(job: Job) -> None:
        if job.attempt == 1:
            job.explanation = text

    hook.__dict__["post_exec"] = post_exec
    return hook


@pytest.mark.parametrize(("retry", "reason"), [(1, "the moon"), (2, "the command exited with 1")])
def test_a_hook_explains_only_a_failure_of_its_own_attempt(job: Job, retry: int, reason: str) -> None:
    change(job, command="false", retry=retry)
    assert run(job, knowing("the moon")).reason == reason


def test_an_explanation_does_not_change_a_success(job: Job) -> None:
    assert run(job, knowing("the moon"))[:2] == ("success", "")
