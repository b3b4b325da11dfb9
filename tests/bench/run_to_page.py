"""Time from the end of a run to the changed page on disk: courier, manager and publisher together."""

import statistics
from pathlib import Path

from schemas.report import Run
from tests.e2e.parts import ConfigRepository, Manager, RsyncDaemon, Worker, wait_until

ROUNDS = 15


def measure(folder: Path) -> None:
    """Print the figures; the baseline is the run itself."""
    tree = folder / "tree"
    tree.mkdir(parents=True)
    (tree / "file").write_text("content")
    delays, durations = [], []
    repository = ConfigRepository(folder)
    with RsyncDaemon(folder / "upstream", {"tree": tree}) as daemon, Manager(folder / "m", repository.url) as manager:
        mirror = f"worker: w1\nprovider: rsync\nupstream: {daemon.url('tree')}\n"
        files = {f"m{number}.yml": mirror for number in range(25)}
        repository.commit({"_site.yml": "title: Bench\n", "_workers.yml": "workers: {w1: {}}\n", **files}, "Begin")
        worker = Worker(folder / "w", "w1", repository.url, manager)
        worker.command("once")
        wait_until(lambda: manager.published("mirrors/m7.json"), "the page is there")
        courier = worker.start("courier", "--linger")
        try:
            wait_until(lambda: (worker.folder / "run/courier.sock").exists(), "the courier is up")
            for _ in range(ROUNDS):
                worker.command("run", "m7")
                run = worker.run_of("m7")
                delays.append(_shown_at(manager, run) - (run.ended_at or 0))
                durations.append(run.duration or 0.0)
        finally:
            courier.terminate()
            courier.wait()
    median, worst, own = statistics.median(delays), max(delays), statistics.median(durations)
    print("from the end of a run to the changed page on disk (25 mirrors)")
    print(f"  median {median * 1000:.0f} ms  worst of {ROUNDS} {worst * 1000:.0f} ms  (a run took {own * 1000:.0f} ms)")


def _shown_at(manager: Manager, run: Run) -> float:
    """When the page of the run's mirror was written that shows the run's end."""
    wait_until(
        lambda: manager.published("mirrors/m7.json")["last_success_at"] == run.ended_at, "the page shows the run"
    )
    return (manager.site / "mirrors" / "m7.html").stat().st_mtime
