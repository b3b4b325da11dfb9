"""Mirrors that are tried again: before their interval is over, and without a slot while they wait."""

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from runner.base.state_dir import StateLayout
from tests.e2e.gate import Gate, status, syncing, upcoming
from tests.e2e.parts import ConfigRepository, Manager, RsyncDaemon, Worker, free_port, wait_until

MINUTE = 60


@pytest.fixture
def limited(tmp_path: Path, tree: Path) -> Iterator[RsyncDaemon]:
    """A daemon that lets one client in at a time."""
    folder = tmp_path / "limited"
    folder.mkdir()
    with RsyncDaemon(folder, {"files": tree}, f"max connections = 1\nlock file = {folder}/lock") as daemon:
        yield daemon


@contextmanager
def occupied(daemon: RsyncDaemon) -> Iterator[None]:
    """Hold the only connection that the daemon's module allows."""
    with socket.create_connection(("127.0.0.1", daemon.port)) as holder:
        holder.sendall(b"@RSYNCD: 31.0\nfiles\n")
        while b"@RSYNCD: OK" not in holder.recv(4096):
            pass
        yield
    assert daemon.process is not None
    pid = daemon.process.pid
    wait_until(lambda: not Path(f"/proc/{pid}/task/{pid}/children").read_text(), "the connection is free again")


def journal_of(worker: Worker) -> sqlite3.Connection:
    return sqlite3.connect(StateLayout(str(worker.state)).journal, timeout=60, isolation_level=None)


def let_pass(worker: Worker, seconds: float) -> None:
    """Let all runs have been that much earlier."""
    with closing(journal_of(worker)) as database:
        change = "UPDATE mirror SET last_started_at = last_started_at - ?1, last_ended_at = last_ended_at - ?1"
        database.execute(change, (seconds,))


def pause(worker: Worker, mirror: str) -> tuple[str, float]:
    """Why a mirror is due when it is, and how long after the end of its last run that is, in minutes."""
    row: dict[str, Any] = upcoming(worker)[mirror]
    with closing(journal_of(worker)) as database:
        query = "SELECT last_ended_at, next_run_at FROM mirror WHERE name = ?"
        ended, next_run_at = database.execute(query, (mirror,)).fetchone()
    assert row["at"] == next_run_at, "what is reported is what is so"
    return row["why"], (row["at"] - ended) / MINUTE


EARLY = "early retry: its upstream was unreachable or had too many clients"


def test_a_mirror_whose_upstream_has_no_connection_left_is_tried_again_before_its_interval(
    repository: ConfigRepository, worker: Worker, limited: RsyncDaemon, tree: Path
) -> None:
    repository.commit({"m.yml": f"upstream: {limited.url('files')}\n"}, "Add m")
    with occupied(limited):
        worker.command("once", check=False)
        assert (
            worker.run_of("m").reason == "rsync exited with 5: @ERROR: max connections (1) reached -- try again later"
        )
        assert pause(worker, "m") == (EARLY, 10)
        first = worker.run_of("m").id

        let_pass(worker, 9 * MINUTE)
        worker.command("once", check=False)
        assert worker.run_of("m").id == first, "never earlier than that"

        let_pass(worker, MINUTE)
        worker.command("once", check=False)
        assert worker.run_of("m").id > first
        assert pause(worker, "m") == (f"{EARLY}, 2 times in a row", 20)
    let_pass(worker, 20 * MINUTE)

    worker.command("once")

    assert worker.run_of("m").status == "success"
    assert pause(worker, "m") == ("every 1h", 60)
    assert {path.name for path in (worker.root / "m").iterdir()} == {path.name for path in tree.iterdir()}


def test_a_mirror_whose_upstream_is_down_is_tried_again_early_unless_its_definition_forbids(
    repository: ConfigRepository, worker: Worker
) -> None:
    down = f"upstream: rsync://127.0.0.1:{free_port()}/files/\n"
    plain = "provider: command\nupstream: x\ncommand: 'sh -c \"exit 7\"'\n"
    files = {"on.yml": f"{down}retry_after_failure: 30m\n", "off.yml": f"{down}retry_after_failure: 0s\n"}
    repository.commit({**files, "other.yml": plain}, "Add three")

    worker.command("once", check=False)

    assert {worker.run_of(name).status for name in ("on", "off", "other")} == {"failed"}
    assert pause(worker, "on") == (EARLY, 30)
    assert pause(worker, "off") == pause(worker, "other") == ("every 1h, last run failed", 60)

    assert worker.command("run", "on", check=False).returncode == 1, "by hand it begins at once"
    assert pause(worker, "on") == ("backing off after 2 failed runs", 60)


def test_the_manager_shows_when_a_mirror_is_tried_again(
    repository: ConfigRepository, reporter: Worker, manager: Manager
) -> None:
    repository.commit({"m.yml": f"upstream: rsync://127.0.0.1:{free_port()}/files/\n"}, "Add m")

    reporter.command("once", check=False)

    job = manager.job("m")
    assert job["status"] == "failed"
    assert abs(job["next_schedule_ts"] - job["last_ended_ts"] - 10 * MINUTE) <= 1


# Between the attempts of one run


@pytest.fixture
def one_slot(repository: ConfigRepository, worker: Worker) -> Worker:
    """A worker that syncs one mirror at a time."""
    repository.commit({"_workers.yml": "workers:\n  w1: {slots: 1}\n"}, "One slot")
    return worker


def test_another_mirror_is_synced_while_a_run_waits_for_its_next_attempt(
    repository: ConfigRepository, one_slot: Worker, gate: Gate
) -> None:
    fails = "provider: command\nupstream: x\ncommand: 'sh -c \"exit 7\"'\nretry: 2\nretry_delay: 1h\n"
    repository.commit({"a.yml": fails, "b.yml": gate.mirror()}, "Add two")

    one_slot.command("follow", "--start")

    syncing(one_slot, gate, "b")
    rows, run = upcoming(one_slot), one_slot.run_of("a")
    assert (rows["a"]["status"], rows["a"]["waits_for"]) == ("pre-syncing", "running")
    assert rows["a"]["why"] == "waiting for its next attempt"
    assert (run.status, run.attempts) == ("pre-syncing", 1)
    assert run.reason.startswith("attempt 1 of 2 failed: the command exited with 7. The next attempt begins at ")
    assert one_slot.command("run", "a", check=False).stderr.count("cannot sync a: it is already being synced") == 1

    one_slot.command("stop", "a")
    status(one_slot, "a", "paused")
    gate.open.touch()
    status(one_slot, "b", "success")
    assert (one_slot.run_of("a").status, one_slot.run_of("a").attempts) == ("stopped", 1)


def test_so_many_runs_wait_without_a_slot_and_no_more(
    repository: ConfigRepository, one_slot: Worker, gate: Gate
) -> None:
    """Each is a process: when all upstreams fail at once, their number must not be that of the mirrors."""
    fails = "provider: command\nupstream: x\ncommand: 'sh -c \"exit 7\"'\nretry: 2\nretry_delay: 1h\n"
    names = [f"m{number:02}" for number in range(17)]
    repository.commit({f"{name}.yml": fails for name in names} | {"z.yml": gate.mirror()}, "Add many")

    def waiting() -> tuple[int, int]:
        with closing(journal_of(one_slot)) as database:
            ended = "SELECT count(*) FROM run WHERE status NOT IN ('launching', 'pre-syncing') AND mirror < 'z'"
            query = f"SELECT count(*), ({ended}) FROM mirror WHERE next_attempt_at IS NOT NULL"
            found: tuple[int, int] = database.execute(query).fetchone()
            return found

    one_slot.command("follow")
    one_slot.command("tick")

    wait_until(lambda: waiting() == (16, 1), "sixteen wait, and the last keeps its slot")
    wait_until(lambda: upcoming(one_slot)["z"]["status"] == "queued", "the other mirror waits for it")
    one_slot.command("stop", names[-1])
    syncing(one_slot, gate, "z")
    one_slot.command("stop", *names[:-1])
    gate.open.touch()
    status(one_slot, "z", "success")


def test_the_next_free_slot_is_for_the_attempt_that_waits_and_not_for_another_mirror(
    repository: ConfigRepository, one_slot: Worker, gate: Gate, tmp_path: Path
) -> None:
    may_fail, script = tmp_path / "may-fail", tmp_path / "a-script"
    first = f"while [ ! -e {may_fail} ]; do sleep 0.05; done; touch failed; exit 7"
    script.write_text(f"#!/bin/sh\necho a $$ >> {gate.starts}\n[ -e failed ] || {{ {first}; }}\n")
    script.chmod(0o755)
    again = gate.mirror("retry: 2\nretry_delay: 1s\n").replace(str(gate.script), str(script))
    repository.commit({"a.yml": again, "b.yml": gate.mirror(), "c.yml": gate.mirror()}, "Add three")
    one_slot.command("follow", "--start")
    syncing(one_slot, gate, "a")
    one_slot.command("start", "--force", "b")
    syncing(one_slot, gate, "b")

    may_fail.touch()

    waits = "waiting for a slot for its next attempt"
    wait_until(lambda: upcoming(one_slot)["a"]["why"] == waits, "the pause of a is over")
    one_slot.command("tick")
    assert (len(gate.begun("a")), gate.begun("c")) == (1, [])
    gate.open.touch()
    status(one_slot, "c", "success")
    assert [line.split()[0] for line in gate.starts.read_text().splitlines()] == ["a", "b", "a", "c"]
    run = one_slot.run_of("a")
    assert (run.status, run.attempts, run.reason) == ("success", 2, "")
