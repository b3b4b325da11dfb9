"""Nothing is lost and nothing repeated when a process dies."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

from runner.base import locks
from tests.e2e.parts import PATIENCE, ConfigRepository, Manager, RsyncDaemon, Worker, alive, programs, wait_until

ENDLESS = "#!/bin/sh\necho $$ >> {pids}\nexec sleep 1000\n"


def endless(repository: ConfigRepository, worker: Worker) -> Path:
    """Declare a mirror whose provider never ends; gives the file with its processes' ids."""
    pids, script = worker.folder / "pids", worker.folder / "endless"
    script.write_text(ENDLESS.format(pids=pids))
    script.chmod(0o755)
    repository.commit(
        {"m.yml": f"provider: command\nupstream: https://files.example/\ncommand: {script}\n"}, "Add an endless one"
    )
    return pids


def history(manager: Manager) -> list[dict[str, Any]]:
    """The runs that the page of the mirror `m` shows, the newest first."""
    runs: list[dict[str, Any]] = (manager.published("mirrors/m.json") or {"runs": []})["runs"]
    return runs


def running(pids: Path) -> list[int]:
    found = [int(line) for line in pids.read_text().split()] if pids.exists() else []
    return [pid for pid in found if alive(pid)]


def test_an_orphan_is_ended_and_the_mirror_goes_on(repository: ConfigRepository, worker: Worker) -> None:
    pids = endless(repository, worker)
    worker.command("follow", "--start")
    [orphan] = wait_until(lambda: running(pids), "the provider is at work")
    [supervisor] = locks.holders(worker.lock("supervisor", "m"))

    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not locks.is_held(worker.lock("supervisor", "m")), "the run is gone")
    assert running(pids) == [orphan], "the provider should have outlived its run for this test"
    second = worker.command("run", "m", check=False)
    assert (second.returncode, "still running in its directory" in second.stderr) == (1, True)
    worker.command("tick")

    assert running(pids) == []
    run = worker.run_of("m")
    assert (run.status, "died (crash, kill or reboot)" in run.reason) == ("interrupted", True)
    assert len(pids.read_text().split()) == 1, "a second provider was started on the directory"


def test_the_next_tick_closes_a_run_that_was_killed_with_its_provider(
    repository: ConfigRepository, worker: Worker
) -> None:
    pids = endless(repository, worker)
    worker.command("follow", "--start")
    wait_until(lambda: running(pids), "the provider is at work")
    [supervisor] = locks.holders(worker.lock("supervisor", "m"))

    for pid in (supervisor, *running(pids)):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not locks.is_held(worker.lock("mirror", "m")), "all are gone")
    worker.command("tick")

    assert worker.states() == {"m": "interrupted"}


def test_a_run_that_never_started_has_its_own_reason(
    repository: ConfigRepository, worker: Worker, upstream: RsyncDaemon
) -> None:
    from runner.base import locks
    from runner.base.state_dir import StateLayout
    from runner.journal import journal
    from runner.journal.journal import Subject
    from runner.tick import crash_recovery

    repository.commit({"m.yml": f"upstream: {upstream.url('files')}\nmeasure_size: false\n"}, "Add m")
    worker.command("once")
    layout = StateLayout(str(worker.state))
    tick = locks.Held(layout.lock("program", "tick"), wait=PATIENCE)  # the run's end wakes a tick, which may come late
    with tick, journal.opened(layout.journal) as book:
        book.launch([Subject("m", "x", True, "0" * 40)], [], now=1000.0)
        crash_recovery.recover_runs(layout, book, now=1000.0 + crash_recovery.LAUNCH_TIMEOUT - 1)
        assert book.states()["m"].status == "launching"
        crash_recovery.recover_runs(layout, book, now=1000.0 + crash_recovery.LAUNCH_TIMEOUT + 1)
        assert book.states()["m"].status == "launch-failed"


def test_many_ticks_at_once_start_every_mirror_once(repository: ConfigRepository, worker: Worker) -> None:
    counts, script = worker.folder / "counts", worker.folder / "count"
    script.write_text(f"#!/bin/sh\necho $TUNASYNC_MIRROR_NAME >> {counts}\n")
    script.chmod(0o755)
    text = f"provider: command\nupstream: https://files.example/\ncommand: {script}\n"
    repository.commit(
        {"_workers.yml": "workers: {w1: {slots: 20}}\n", **{f"m{number}.yml": text for number in range(20)}},
        "Add twenty",
    )
    worker.command("follow")

    ticks = [worker.start("tick") for _ in range(8)]

    assert [tick.wait(PATIENCE) for tick in ticks] == [0] * 8
    wait_until(lambda: list(worker.states().values()) == ["success"] * 20, "all have run")
    assert sorted(counts.read_text().split()) == sorted(f"m{number}" for number in range(20))


def test_a_manager_that_was_down_gets_ends_of_runs_in_order_and_once(
    repository: ConfigRepository, upstream: RsyncDaemon, manager: Manager, reporter: Worker
) -> None:
    repository.commit({"m.yml": f"upstream: {upstream.url('files')}\nmeasure_size: false\n"}, "Add m")
    reporter.command("once")
    manager.stop()
    for _ in range(3):
        reporter.command("run", "m")
    failed = reporter.command("courier", check=False)
    assert (failed.returncode, "Nothing is lost" in failed.stderr) == (1, True)

    manager.start()
    reporter.command("courier")

    wait_until(lambda: len(history(manager)) == 4, "all four are shown")
    assert [run["id"] for run in history(manager)] == [4, 3, 2, 1]
    assert [run["status"] for run in history(manager)] == ["success"] * 4
    assert reporter.pending() == 0


def test_a_lingering_courier_reports_the_end_of_a_run_at_once_and_survives_a_killed_manager(
    repository: ConfigRepository, upstream: RsyncDaemon, manager: Manager, reporter: Worker
) -> None:
    repository.commit({"m.yml": f"upstream: {upstream.url('files')}\nmeasure_size: false\n"}, "Add m")
    reporter.command("once")
    courier = reporter.start("courier", "--linger")
    try:
        wait_until(lambda: (reporter.folder / "run/courier.sock").exists(), "the courier is up")
        reporter.command("run", "m")
        wait_until(lambda: reporter.pending() == 0, "it was delivered")
        manager.stop(signal.SIGKILL)
        reporter.command("run", "m")
        assert reporter.pending() > 0
        manager.start()
        wait_until(lambda: reporter.pending() == 0, "it was delivered after all")
        assert courier.poll() is None
    finally:
        courier.terminate()
        courier.wait()


def test_a_manager_restored_from_an_old_backup_gets_everything_again(
    repository: ConfigRepository, upstream: RsyncDaemon, manager: Manager, reporter: Worker
) -> None:
    repository.commit({"m.yml": f"upstream: {upstream.url('files')}\nmeasure_size: false\n"}, "Add m")
    reporter.command("once")
    manager.stop()
    state, backup = manager.folder / "state", manager.folder / "backup"
    shutil.copytree(state, backup)
    manager.start()
    reporter.command("run", "m")
    reporter.command("courier")
    manager.stop()
    shutil.rmtree(state)
    shutil.copytree(backup, state)
    manager.start()
    reporter.command("run", "m")

    reporter.command("courier")

    wait_until(lambda: [run["id"] for run in history(manager)] == [3, 2, 1], "all three are shown")


def test_new_reports_of_a_worker_restored_from_an_old_backup_are_not_dropped_as_repeated(
    repository: ConfigRepository, upstream: RsyncDaemon, manager: Manager, reporter: Worker
) -> None:
    repository.commit({"m.yml": f"upstream: {upstream.url('files')}\nmeasure_size: false\n"}, "Add m")
    reporter.command("once")
    backup = reporter.folder / "backup"
    shutil.copytree(reporter.state, backup)
    for _ in range(5):
        reporter.command("run", "m")
    reporter.command("courier")
    wait_until(lambda: not programs(reporter), "the ticks that the runs wanted have ended")
    shutil.rmtree(reporter.state)
    shutil.copytree(backup, reporter.state)
    (next((reporter.root / "m").glob("folder-1/*"))).unlink()
    reporter.command("run", "m")

    reporter.command("courier")

    assert reporter.pending() == 0
    last = reporter.run_of("m").ended_at
    wait_until(lambda: history(manager) and history(manager)[0]["ended_at"] == last, "the newest success is shown")


def test_the_mirrors_lock_alone_is_inherited(repository: ConfigRepository, worker: Worker) -> None:
    pids = endless(repository, worker)
    worker.command("follow", "--start")
    [provider] = wait_until(lambda: running(pids), "the provider is at work")
    try:
        assert provider in locks.holders(worker.lock("mirror", "m"))
        assert provider not in locks.holders(worker.lock("slot", "0"))
        assert provider not in locks.holders(worker.lock("supervisor", "m"))
        open_files = {str(link.readlink()) for link in Path(f"/proc/{provider}/fd").iterdir()}
        assert not [path for path in open_files if path.endswith((".db", ".db-wal"))]
    finally:
        [supervisor] = locks.holders(worker.lock("supervisor", "m"))
        os.kill(supervisor, signal.SIGTERM)
        wait_until(lambda: not running(pids), "the provider was ended")
