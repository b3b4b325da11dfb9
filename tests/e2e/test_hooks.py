"""What happens around a sync: logs, commands, free space and traces, with a real rsync and a real small disk."""

import gzip
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cases import crossed
from tests.e2e.parts import ConfigRepository, RsyncDaemon, Worker

HOST = "mirrors.example.edu"
IN_PROGRESS = f"Archive-Update-in-Progress-{HOST}"


def declare(repository: ConfigRepository, worker: Worker, text: str) -> None:
    """Declare the mirror m, and wait for its first run to end."""
    repository.commit({"m.yml": text}, "Declare m")
    worker.command("once", check=False)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def logs(worker: Worker) -> list[str]:
    return [name for name in names(worker.folder / "logs/m") if name != "latest"]


def test_old_logs_are_compressed_and_at_last_removed(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    declare(repository, worker, f"upstream: {upstream.url('files')}\nlog_keep: 3\n")
    (first,) = logs(worker)
    text = (worker.folder / "logs/m" / first).read_bytes()

    for _more in range(2):
        worker.command("run", "m")

    kept = logs(worker)
    assert [kept[0], *(name.endswith(".log.gz") for name in kept)] == [f"{first}.gz", True, True, False]
    assert gzip.decompress((worker.folder / "logs/m" / kept[0]).read_bytes()) == text
    assert (worker.folder / "logs/m/latest").readlink().name == kept[2]
    worker.command("run", "m")
    assert len(logs(worker)) == 3
    assert f"{first}.gz" not in logs(worker)


def test_commands_see_the_synced_mirror_and_their_failures_are_shown_beside_the_result(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    text = "exec_on_success: [cat 'folder-1/file 1 ünï.txt', /bin/false]\nexec_on_success_extra: [echo the last one]\n"
    declare(repository, worker, f"upstream: {upstream.url('files')}\n{text}")

    run = worker.run_of("m")

    assert (run.status, run.reason) == ("success", "")
    assert run.log_tail.endswith("after the success: `/bin/false` exited with 1")
    said = (worker.folder / "logs/m/latest").read_text()
    assert "\x01" * 100 in said
    assert said.endswith("the last one\n")
    assert "m: after the success: `/bin/false` exited with 1\n" in worker.command("run", "m").stderr


def test_commands_after_a_failure_run_once_with_the_log_under_its_last_name(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    script = worker.folder / "tell"
    script.write_text(
        '#!/bin/sh\necho "$TUNASYNC_JOB_EXIT_STATUS $TUNASYNC_LOG_FILE" >> "$1"\ngrep -c rsync "$TUNASYNC_LOG_FILE"\n'
    )
    script.chmod(0o755)
    told = worker.folder / "told"
    text = f"retry: 3\nexec_on_failure: ['{script} {told}']\n"
    declare(repository, worker, f"upstream: {upstream.url('no-such-module')}\n{text}")

    run = worker.run_of("m")

    assert (run.status, run.attempts) == ("failed", 3)
    latest = (worker.folder / "logs/m/latest").resolve()
    assert told.read_text() == f"failure {latest}\n"
    assert latest.name.endswith("_03.log.fail")
    assert run.log_tail.endswith(run.reason), "the commands had nothing to complain about"


@pytest.fixture
def disk(worker: Worker) -> Iterator[Path]:
    """A file system of 1 MiB in the place of the directory of m, with room for eight files."""
    place = worker.root / "m"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=9", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_run_fails_early_on_a_full_disk_and_succeeds_when_there_is_space(
    repository: ConfigRepository, worker: Worker, disk: Path
) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(800 * 1024))
    text = "provider: command\nupstream: x\ncommand: touch synced\nmin_free_space: 256KiB\n"
    declare(repository, worker, text)

    run = worker.run_of("m")

    assert (run.status, run.attempts) == ("refused", 0)
    assert run.reason == f"{disk} has 224 KiB free, less than `min_free_space` 256 KiB; make room or lower it"
    assert names(disk) == ["ballast"]

    ballast.unlink()
    worker.command("run", "m")
    assert worker.run_of("m").status == "success"
    assert names(disk) == ["synced"]


def test_a_run_is_refused_when_no_other_file_fits(repository: ConfigRepository, worker: Worker, disk: Path) -> None:
    for number in range(8):
        (disk / str(number)).touch()
    text = "provider: command\nupstream: x\ncommand: touch synced\nmin_free_space: 1B\n"
    declare(repository, worker, text)
    assert worker.run_of("m").reason == f"{disk} has no free inode; remove some files"

    declare(repository, worker, text.replace("1B", "0B"))
    worker.command("run", "m", check=False)
    assert "touch" in worker.run_of("m").log_tail, "the guard was off and the command found out itself"


@pytest.mark.parametrize(
    ("provider", "theirs"),
    crossed(["rsync", "two-stage-rsync"], [True, False], every=2),
)
def test_a_trace_outlives_syncs_that_delete(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker, provider: str, theirs: bool
) -> None:
    """A sync adds the upstream's files, removes those that it no longer has, and keeps those of Skipjack."""
    if theirs:
        (tree / "project/trace").mkdir(parents=True)
        (tree / "project/trace/master").write_text("Archive serial: 7\n")
        (tree / "project/trace/former").write_text("x")
    text = f"provider: {provider}\nupstream: {upstream.url('files')}\ntrace: {HOST}\n"
    declare(repository, worker, text)
    trace = worker.root / "m/project/trace" / HOST
    first = trace.stat().st_ino
    gone = [tree / "folder-1/file 1 ünï.txt", *([tree / "project/trace/former"] if theirs else [])]
    for path in gone:
        path.unlink()
    (worker.root / "m" / IN_PROGRESS).write_text("left by a crash")

    worker.command("run", "m")

    assert worker.run_of("m").status == "success"
    assert set(names(worker.root / "m")) == {*names(tree), f"project/trace/{HOST}"}
    assert trace.stat().st_ino != first, "it was written again"
    assert ("Archive serial: 7" in trace.read_text()) == theirs
    assert "Upstream-mirror: 127.0.0.1\n" in trace.read_text()
    said = (worker.folder / "logs/m/latest").read_text()
    assert HOST not in said and "cannot delete" not in said, "rsync neither deleted nor complained"


def test_a_sync_with_nothing_to_delete_needs_no_second_pass_for_a_trace(
    repository: ConfigRepository, upstream: RsyncDaemon, worker: Worker
) -> None:
    declare(repository, worker, f"upstream: {upstream.url('files')}\ntrace: {HOST}\nmax_delete: 0\n")

    worker.command("run", "m")

    assert worker.run_of("m").status == "success"
    assert (worker.folder / "logs/m/latest").read_text().count("Total file size") == 1


def test_a_marker_shows_an_active_sync_and_a_failure_leaves_the_trace(
    repository: ConfigRepository, upstream: RsyncDaemon, tree: Path, worker: Worker
) -> None:
    """The rsync of the second run looks at the mirror itself and then fails."""
    program = worker.folder / "rsync"
    program.write_text("#!/bin/sh\nls -A .\nexit 23\n")
    program.chmod(0o755)
    text = f"upstream: {upstream.url('files')}\ntrace: {HOST}\n"
    declare(repository, worker, text)
    before = (worker.root / "m/project/trace" / HOST).read_text()
    repository.commit({"m.yml": f"{text}command: {program}\n"}, "Let it fail")
    worker.command("follow")

    worker.command("run", "m", check=False)

    assert worker.run_of("m").status == "failed"
    assert IN_PROGRESS in (worker.folder / "logs/m/latest").read_text()
    assert set(names(worker.root / "m")) == {*names(tree), f"project/trace/{HOST}"}
    assert (worker.root / "m/project/trace" / HOST).read_text() == before
