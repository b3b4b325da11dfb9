"""Two providers never run in one directory, also after the lock files were deleted."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner.base import locks
from tests.e2e.gate import Gate, status, syncing
from tests.e2e.parts import REPOSITORY, ConfigRepository, Worker, alive, wait_until


@pytest.fixture
def at_work(repository: ConfigRepository, worker: Worker, gate: Gate) -> Iterator[int]:
    """A mirror `m` that is being synced; gives its supervisor's process id."""
    repository.commit({"m.yml": gate.mirror("interval: 1s\n")}, "Add m")
    worker.command("follow")
    worker.command("tick")
    syncing(worker, gate, "m")
    [supervisor] = locks.holders(worker.lock("supervisor", "m"))
    yield supervisor
    gate.open.touch()


def second(gate: Gate, name: str, ended: Callable[[], bool]) -> None:
    """Wait for the end of a second run, which must not start its provider: that would wait for the gate."""
    before = len(gate.begun(name))
    wait_until(lambda: len(gate.begun(name)) > before or ended(), f"a second run of {name} has ended")
    if len(gate.begun(name)) > before:
        gate.open.touch()
        pytest.fail("a second provider was started on the directory")


def command(worker: Worker, gate: Gate, *words: str) -> tuple[int, str]:
    """Give a command that must not start a provider for `m`; return its exit code and what it prints."""
    path = worker.folder / "printed"
    with path.open("wb") as log, worker.start(*words, log=log) as process:
        second(gate, "m", lambda: process.poll() is not None)
    return process.returncode, path.read_text()


def remove_locks(worker: Worker) -> None:
    shutil.rmtree(worker.state / "locks")


def replace_locks(worker: Worker) -> None:
    for path in [path for path in (worker.state / "locks").rglob("*") if path.is_file()]:
        path.with_suffix(".new").touch()
        path.with_suffix(".new").rename(path)


@pytest.mark.parametrize(
    ("lose", "said"),
    [
        (remove_locks, "cannot sync m: it is already being synced"),
        (replace_locks, "{directory} is in use by processes "),
    ],
)
def test_a_run_whose_lock_files_are_gone_goes_on_alone(
    worker: Worker, gate: Gate, at_work: int, lose: Callable[[Worker], None], said: str
) -> None:
    lose(worker)

    code, printed = command(worker, gate, "run", "m")
    ticked = worker.command("tick")

    assert code == 1
    assert said.format(directory=f"{worker.root}/m") in printed
    assert "launched 0 runs" in ticked.stderr
    assert (worker.states(), alive(at_work)) == ({"m": "syncing"}, True)
    assert len(gate.begun("m")) == 1, "a second provider was started on the directory"
    gate.open.touch()
    status(worker, "m", "success")
    worker.command("run", "m")
    assert len(gate.begun("m")) == 2


def test_a_run_whose_lock_files_are_gone_can_be_stopped(worker: Worker, at_work: int) -> None:
    remove_locks(worker)
    assert "stopping its run" in worker.command("stop", "m").stdout
    wait_until(lambda: not alive(at_work), "it was stopped")
    assert worker.run_of("m").status == "stopped"


def test_an_orphan_whose_lock_files_are_gone_is_ended_before_the_mirror_goes_on(
    worker: Worker, gate: Gate, at_work: int
) -> None:
    [orphan] = gate.begun("m")
    os.kill(at_work, signal.SIGKILL)
    wait_until(lambda: not alive(at_work), "the run is gone")
    remove_locks(worker)

    code, printed = command(worker, gate, "run", "m")
    assert (code, "are still running in its directory" in printed, alive(orphan)) == (1, True, True)
    worker.command("tick")

    assert not alive(orphan)
    assert worker.run_of("m").status == "interrupted"
    assert gate.begun("m") == [orphan]


def test_two_workers_with_one_directory_take_turns(
    repository: ConfigRepository, worker: Worker, gate: Gate, at_work: int, tmp_path: Path
) -> None:
    other = Worker(tmp_path / "w2", "w1", repository.url)
    shutil.rmtree(other.root)
    other.root.symlink_to(worker.root)

    command(other, gate, "once")

    run = other.run_of("m")
    assert (run.status, f"{other.root}/m is in use by process" in run.reason) == ("refused", True), run
    assert (str(at_work) in run.reason, alive(at_work), len(gate.begun("m"))) == (True, True, 1)
    gate.open.touch()
    status(worker, "m", "success")
    other.command("run", "m")
    assert other.run_of("m").status == "success"


def test_a_mirror_within_the_directory_of_one_that_is_still_at_work_waits(
    repository: ConfigRepository, worker: Worker, gate: Gate, at_work: int
) -> None:
    """One commit takes `m` away and puts another one below its directory."""
    repository.commit({"m.yml": None, "part.yml": gate.mirror("mirror_subdir: m\n")}, "Divide m")
    worker.command("follow")
    worker.command("start", "part")
    second(gate, "part", lambda: worker.states().get("part") == "refused")
    reason = worker.run_of("part").reason
    assert f"{worker.root}/m/part lies in {worker.root}/m, which is in use by process" in reason
    assert (gate.begun("part"), alive(at_work)) == ([], True)
    gate.open.touch()
    wait_until(lambda: not alive(at_work), "m is over")
    worker.command("run", "part")
    assert worker.run_of("part").status == "success"


def test_two_mirrors_whose_directories_became_one_take_turns(
    repository: ConfigRepository, worker: Worker, gate: Gate, at_work: int
) -> None:
    repository.commit({"other.yml": gate.mirror()}, "Add another")
    worker.command("follow")
    worker.command("disable", "other")
    wait_until(lambda: worker.states().get("other") in ("disabled", "stopped"), "it does not run")
    started = len(gate.begun("other"))
    shutil.rmtree(worker.root / "other", ignore_errors=True)
    (worker.root / "other").symlink_to("m")

    worker.command("start", "other")

    second(gate, "other", lambda: worker.states().get("other") == "refused")
    assert "other is in use by process" in worker.run_of("other").reason
    assert (len(gate.begun("other")), alive(at_work)) == (started, True)


_WITHOUT_DIRECTORY_LOCKS = """
import errno, fcntl, os, stat, sys
sys.path.insert(0, {repository!r})
real = fcntl.flock
def flock(descriptor, kind):
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    real(descriptor, kind)
fcntl.flock = flock
from runner.tick import entry
sys.exit(entry.main(["run", {state!r}, "m"]))
"""


def without_directory_locks(worker: Worker) -> list[str]:
    """A run as on a network file system, where a directory cannot be locked."""
    code = _WITHOUT_DIRECTORY_LOCKS.format(repository=str(REPOSITORY), state=str(worker.state))
    return [sys.executable, "-I", "-c", code]


def test_where_a_directory_cannot_be_locked_the_lock_files_alone_protect_it_and_the_run_logs_this(
    repository: ConfigRepository, worker: Worker, gate: Gate
) -> None:
    repository.commit({"m.yml": gate.mirror("cron: 0 0 1 1 *\n")}, "Add m, due at New Year")
    worker.command("follow")
    (worker.root / "m").mkdir(exist_ok=True)
    words = without_directory_locks(worker)
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        wait_until(lambda: gate.begun("m"), "it is at work")
        replace_locks(worker)
        with (worker.folder / "printed").open("w") as log, subprocess.Popen(words, stderr=log) as other:
            second(gate, "m", lambda: other.poll() is not None)
        gate.open.touch()
        said = first.stderr.read()

    printed = (worker.folder / "printed").read_text()
    assert (other.returncode, str(first.pid) in printed) == (1, True), printed
    assert "cannot lock the directory: Bad file descriptor" in said
    assert (first.returncode, len(gate.begun("m"))) == (0, 1)
