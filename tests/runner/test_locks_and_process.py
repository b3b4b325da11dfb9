"""Locks and processes, with small real programs."""

import errno
import fcntl
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from runner.base import locks
from runner.journal.last_success import identity_of
from runner.run import directory_lock
from runner.run.directory_lock import DirectoryLock, InUse
from runner.subprocesses import pipes, spawn, supervisor
from tests.runner.syncing import UNSTOPPED

REPOSITORY = Path(__file__).resolve().parents[2]


def test_a_lock_is_free_again_when_its_holder_has_ended(tmp_path: Path) -> None:
    path = str(tmp_path / "locks" / "one")
    assert not locks.is_held(path)
    descriptor = locks.try_lock(path)
    assert descriptor is not None
    assert locks.is_held(path)
    assert locks.try_lock(path, wait=0.05) is None
    os.close(descriptor)
    assert not locks.is_held(path)


def test_a_lock_outlives_a_killed_holder_only_in_a_child_that_inherited_it(tmp_path: Path) -> None:
    path = str(tmp_path / "one")
    code = (
        "import os, subprocess, sys, time\nfrom runner.base import locks\n"
        f"fd = locks.try_lock({path!r})\nos.set_inheritable(fd, True)\n"
        "child = subprocess.Popen(['sleep', '100'], pass_fds=[fd])\nprint(child.pid, flush=True)\ntime.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        holder.kill()
    try:
        assert locks.is_held(path)
        assert locks.holders(path) == [child]
    finally:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_lock_file_that_is_replaced_while_it_is_opened_is_locked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    path = tmp_path / "one"
    path.touch()
    real, calls = fcntl.flock, []

    def flock(descriptor: int, kind: int) -> None:
        real(descriptor, kind)
        calls.append(descriptor)
        if len(calls) == 1:
            path.unlink()
            if replaced:
                path.touch()

    monkeypatch.setattr(fcntl, "flock", flock)
    descriptor = locks.try_lock(str(path))

    assert descriptor is not None and len(calls) == 2
    assert os.fstat(descriptor).st_ino == path.stat().st_ino
    assert locks.is_held(str(path))
    os.close(descriptor)


@pytest.mark.parametrize("replaced", [True, False])
def test_the_holder_of_a_deleted_or_replaced_lock_file_is_found(tmp_path: Path, replaced: bool) -> None:
    path = tmp_path / "one"
    lines = ["import time", "from runner.base import locks", f"fd = locks.try_lock({str(path)!r})", "print(flush=True)"]
    code = "\n".join([*lines, "time.sleep(100)"])
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline()
            path.unlink()
            if replaced:
                path.touch()
            assert not locks.is_held(str(path))
            assert locks.holders(str(path)) == [holder.pid]
            assert locks.is_in_use(str(path))
            if not replaced:
                assert locks.try_lock(str(path), wait=0.05) is None
                assert not path.exists(), "what is not ours must not seem free to others"
        finally:
            holder.kill()
    assert not locks.is_in_use(str(path))
    descriptor = locks.try_lock(str(path))
    assert descriptor is not None
    os.close(descriptor)


def test_a_directory_is_locked_once_by_all_its_paths(tmp_path: Path) -> None:
    directory, link = tmp_path / "directory", tmp_path / "link"
    directory.mkdir()
    link.symlink_to(directory)
    root = str(tmp_path)
    first, second = DirectoryLock(str(directory), root), DirectoryLock(str(link), root)
    first.take()
    assert first.identity == identity_of(str(directory)) is not None
    assert locks.is_directory_held(str(link))
    assert locks.try_lock_directory(str(link)) is None
    first.release()
    second.take()
    assert second.descriptors and locks.is_directory_held(str(directory))
    second.release()
    assert not locks.is_directory_held(str(directory))


def test_a_replaced_directory_is_locked_again_and_a_missing_one_is_not(tmp_path: Path) -> None:
    directory = tmp_path / "directory"
    lock = DirectoryLock(str(directory), str(tmp_path))
    lock.take()
    assert (lock.problem, lock.identity) == ("", None)
    directory.mkdir()
    lock.take()
    directory.rename(tmp_path / "old")
    directory.mkdir()
    lock.take()
    assert locks.is_directory_held(str(directory))
    assert not locks.is_directory_held(str(tmp_path / "old"))
    lock.release()


def test_a_file_system_without_directory_locks_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(_descriptor: int, _kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = DirectoryLock(str(tmp_path), str(tmp_path.parent))
    lock.take()
    assert (lock.descriptors, lock.problem, lock.moved()) == ((), "No locks available", "")


def test_a_directory_inside_a_locked_one_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_lock, "PATIENCE", 0.01)  # no other process takes one for an instant
    outer, inner, other = tmp_path / "outer", tmp_path / "outer/linux/inner", tmp_path / "outer/linux/other"
    inner.mkdir(parents=True)
    other.mkdir()
    (tmp_path / "link").symlink_to(inner)
    of_outer, of_inner, of_other, of_link = (
        DirectoryLock(str(each), str(tmp_path)) for each in (outer, inner, other, tmp_path / "link")
    )
    of_outer.take()
    for each in (of_inner, of_link):
        with pytest.raises(InUse, match=f"lies in {outer}, which is in use by "):
            each.take()
        each.release()
        nested = DirectoryLock(str(inner / "m"), str(inner))  # of a worker whose root lies in another one's mirror
        with pytest.raises(InUse, match="which is in use by "):
            nested.take()
        nested.release()
    of_outer.release()
    of_inner.take()
    of_other.take()
    assert len(of_inner.descriptors) == len(of_other.descriptors) > 3, "beside each other they may be synced"
    with pytest.raises(InUse, match=f"{outer} is in use by "):
        of_outer.take()
    of_inner.release()
    of_other.release()
    of_outer.take()
    of_outer.release()


def test_a_replacement_of_a_locked_directory_is_noticed(tmp_path: Path) -> None:
    root, directory = tmp_path / "root", tmp_path / "root/m"
    directory.mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    lock = DirectoryLock(str(directory), str(root))
    lock.take()
    assert lock.moved() == ""
    directory.rename(root / "away")
    assert f"{directory} is no longer the directory in which this run began" in lock.moved()
    directory.mkdir()
    assert f"{directory} is no longer the directory in which this run began" in lock.moved()
    directory.rmdir()
    directory.symlink_to(tmp_path / "secret")
    assert lock.moved() == f"{directory} is really {tmp_path}/secret, which does not lie below {root}; correct the link"
    directory.unlink()
    (root / "away").rename(directory)
    assert lock.moved() == ""
    lock.release()


def run(
    argv: list[str], tmp_path: Path, timeout: float | None = None, env: dict[str, str] | None = None
) -> supervisor.Exit:
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        environment = spawn.inherited_environment() | (env or {})
        return supervisor.run(argv, environment, str(tmp_path), log, (), timeout, UNSTOPPED)
    finally:
        os.close(log)


def test_exit_codes_and_signals_are_returned(tmp_path: Path) -> None:
    assert run(["sh", "-c", "exit 23"], tmp_path) == supervisor.Exit(23)
    assert run(["sh", "-c", "kill -KILL $$"], tmp_path) == supervisor.Exit(-9)
    assert run(["sleep", "100"], tmp_path, timeout=0.1).cause == supervisor.TIMED_OUT


def test_a_process_that_prints_many_lines_does_not_wake_us_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No output is lost: the rest is read at the end of the process, which also ends the pause."""
    monkeypatch.setattr(pipes, "PAUSE", 100_000.0)
    pieces: list[bytes] = []
    lines = "import os\nfor number in range(5000): os.write(1, b'%05d\\n' % number)"
    argv = [sys.executable, "-c", lines]
    exited = supervisor.run(argv, os.environ, str(tmp_path), -1, (), None, UNSTOPPED, [pieces.append])
    assert exited == supervisor.Exit(0)
    assert b"".join(pieces) == b"".join(b"%05d\n" % number for number in range(5000))
    assert len(pieces) <= 3, "the first lines, the others, the end"


def test_a_process_has_its_own_session_no_input_and_default_signals(tmp_path: Path) -> None:
    script = "cat /proc/$$/stat; cat; pwd; exec grep -E 'Sig(Blk|Ign)' /proc/self/status"

    assert run(["sh", "-c", script], tmp_path).code == 0

    first, folder, blocked, ignored = (tmp_path / "log").read_text().splitlines()
    fields = first.split()
    assert fields[0] == fields[5], "the process should lead a session"
    assert folder == str(tmp_path)
    masks = {int(line.split()[1], 16) for line in (blocked, ignored)}
    stops = sum(1 << (number - 1) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE))
    assert not [mask for mask in masks if mask & stops]


def test_the_kernel_kills_a_process_before_its_run_when_memory_runs_out(tmp_path: Path) -> None:
    ours = Path("/proc/self/oom_score_adj").read_text()
    assert run(["cat", "/proc/self/oom_score_adj"], tmp_path).code == 0
    assert int((tmp_path / "log").read_text()) == int(ours) + 200
    assert Path("/proc/self/oom_score_adj").read_text() == ours


def test_a_process_inherits_no_descriptor_and_no_secret_of_skipjack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x")
    with (tmp_path / "other").open("w") as other:
        os.set_inheritable(other.fileno(), False)
        assert run(["sh", "-c", "ls -l /proc/$$/fd; env"], tmp_path).code == 0
    said = (tmp_path / "log").read_text()
    assert "other" not in said
    assert "CREDENTIALS_DIRECTORY" not in said


@pytest.mark.parametrize(("limit", "lowest"), [(1024, 700), (500, 3)])
def test_a_process_inherits_a_lock_under_a_number_that_scripts_do_not_use(
    tmp_path: Path, limit: int, lowest: int
) -> None:
    path = tmp_path / "lock"
    descriptor = locks.try_lock(str(path))
    assert descriptor is not None
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        argv = ["sh", "-c", "ls -l /proc/$$/fd"]
        assert supervisor.run(argv, os.environ, str(tmp_path), log, [descriptor], None, UNSTOPPED).code == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.close(log)
    found = re.findall(rf"(\d+) -> {re.escape(str(path))}$", (tmp_path / "log").read_text(), re.MULTILINE)
    assert len(found) == 1 and lowest <= int(found[0]) < limit
    assert locks.is_held(str(path)) and not os.get_inheritable(descriptor)
    os.close(descriptor)
    assert not locks.is_held(str(path)), "no copy is left"


def test_a_program_is_searched_for_in_the_path_of_the_mirror(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "mine").write_text("#!/bin/sh\nexit 9\n")
    (folder / "mine").chmod(0o755)

    assert run(["mine"], tmp_path, env={"PATH": f"{folder}:/bin"}).code == 9
    with pytest.raises(spawn.CannotStart, match="mine was not found in /bin"):
        run(["mine"], tmp_path, env={"PATH": "/bin"})


def test_a_relative_program_is_searched_for_in_its_working_directory(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("#!/bin/sh\nexit 9\n")
    (tmp_path / "mine").chmod(0o755)

    assert run(["./mine"], tmp_path).code == 9


def test_a_process_starts_although_our_current_folder_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()

    assert run(["true"], tmp_path) == supervisor.Exit(0)


def test_a_time_out_may_be_longer_than_one_poll(tmp_path: Path) -> None:
    assert run(["true"], tmp_path, timeout=50 * 365 * 86400.0) == supervisor.Exit(0)


_WITHOUT_POWER = """
import os
from runner.subprocesses import supervisor
supervisor.adopt_orphans()
log = os.open(os.devnull, os.O_WRONLY)
lone = "exec 9>pid; setpriv --reuid=65534 --clear-groups setsid sh -c 'echo $$ >&9; exec sleep 1000' &"
lone += " while ! [ -s pid ]; do sleep 0.01; done; exit 5"
print(supervisor.run(["sh", "-c", lone], os.environ, os.getcwd(), log, (), None, supervisor.Stop()).code)
"""


def test_a_process_of_another_user_is_not_waited_for(tmp_path: Path) -> None:
    powerless = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill", sys.executable, "-c", _WITHOUT_POWER]
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    try:
        done = subprocess.run(powerless, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr
    finally:
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
