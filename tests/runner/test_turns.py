"""Waiting for another program: messages name the process that holds the lock."""

import errno
import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import error_boundary
from runner.base import locks, turns
from runner.base.state_dir import StateLayout
from runner.base.turns import turn
from runner.subprocesses import spawn
from runner.tick import crash_recovery, tick
from schemas.errors import SkipjackError
from schemas.lock_holders import described

HOLD = (
    "from runner.base import locks; import sys, time; locks.try_lock(sys.argv[1]); print(flush=True); time.sleep(1000)"
)


@pytest.fixture
def lock(tmp_path: Path) -> str:
    return StateLayout(str(tmp_path)).lock("program", "follow")


@pytest.fixture
def holder(lock: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    with subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline()
        yield process
        process.kill()


def test_a_wait_that_times_out_names_the_process_and_its_age(
    lock: str, holder: subprocess.Popen[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_FIRST", 0.01)
    monkeypatch.setattr(turns, "_EVERY", 0.01)
    who = rf"process {holder.pid} \(python[0-9.]*\), started [0-9a-z. ]+ ago"

    with (
        pytest.raises(SkipjackError, match=f"^another follow is still running: {who}\\. Wait"),
        turn(lock, "follow", 1),
    ):
        pytest.fail("it does not have the lock")

    told = capsys.readouterr().err.splitlines()
    assert told and all(
        re.fullmatch(f"INFO follow: waiting for another follow to end: {who}", line) for line in told
    ), told


def test_a_waiting_program_continues_when_the_other_one_has_ended(
    lock: str, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "_FIRST", 0.01)
    monkeypatch.setattr(turns, "note", lambda *_words, **_named: holder.kill())
    with turn(lock, "follow", 300):
        assert locks.is_held(lock)
    assert not locks.is_held(lock)


def test_a_holder_that_has_ended_or_is_invisible_is_described_as_such(lock: str) -> None:
    assert described(lock) == "a process that this user cannot see"


def test_a_tick_names_the_active_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = StateLayout(str(tmp_path))
    path = layout.lock("program", "tick")
    monkeypatch.setattr(tick, "LOCK_TIMEOUT", 0.0)
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline()
        try:
            words = rf"another tick has been running for 0 s: process {process.pid} \("
            with pytest.raises(SkipjackError, match=words):
                tick.tick(layout)
        finally:
            process.kill()


def test_a_holder_that_cannot_be_ended_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like a process of another user: one of our own group is not signalled either."""
    layout = StateLayout(str(tmp_path))
    path = layout.lock("mirror", "m")
    monkeypatch.setattr(spawn, "GRACE", 0.0)
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline()
        crash_recovery.end_orphans(layout, ["m"])
        process.kill()
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"WARNING m: its directory is still in use: process {process.pid} (")
    assert said.endswith(f" holds {path}, and this user may not end it. End it as its own user")


# What stands in the place of a lock file


def test_a_directory_in_the_place_of_a_lock_is_moved_away_and_kept(lock: str) -> None:
    Path(lock, "inside").mkdir(parents=True)
    assert not locks.is_held(lock)

    descriptor = locks.try_lock(lock)

    assert descriptor is not None and locks.is_held(lock)
    (kept,) = Path(lock).parent.glob("follow.directory-*")
    assert (kept / "inside").is_dir()
    os.close(descriptor)


def test_a_dangling_link_in_the_place_of_a_lock_is_removed(lock: str) -> None:
    Path(lock).parent.mkdir(parents=True)
    Path(lock).symlink_to("/nowhere/at/all")

    descriptor = locks.try_lock(lock)

    assert descriptor is not None and not Path(lock).is_symlink()
    os.close(descriptor)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_not_a_bug(
    tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_descriptor: int, _kind: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    layout = StateLayout(str(tmp_path))

    assert error_boundary.guarded(lambda: tick.tick(layout).started, layout.state_dir) == 1

    remedy = "Put it on a file system that has locks (`flock`), such as a local disk."
    path = layout.next_tick(only_requested=False)
    assert capsys.readouterr().err == f"ERROR skipjack: {path}: {os.strerror(number)}. {remedy}\n"


def test_a_lock_folder_that_is_removed_in_between_is_created_again(lock: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(lock).parent
    folder.parent.mkdir()
    make, made = os.makedirs, []

    def makedirs(path: str, **named: bool) -> None:
        make(path, **named)
        made.append(path)
        if len(made) == 1:
            folder.rmdir()

    monkeypatch.setattr(os, "makedirs", makedirs)
    descriptor = locks.try_lock(lock)
    assert descriptor is not None and made == [str(folder)] * 2
    os.close(descriptor)


def test_a_holder_is_found_although_all_locks_were_moved(
    lock: str, holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    (tmp_path / "locks").rename(tmp_path / "locks.old")
    assert locks.holders(lock) == [holder.pid]
    assert locks.try_lock(lock) is None
    assert locks.holders(StateLayout(str(tmp_path / "other")).lock("program", "follow")) == [], "that of another worker"
