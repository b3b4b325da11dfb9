"""What publishing costs on a large site, against writing the same bytes durably by hand.

The first publishing makes every file; then one mirror's report changes its own two files and the overviews.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from schemas.records import Mirror, Site, Worker
from schemas.report import SNAPSHOT, Envelope, MirrorStatus, Report, Run, RunProgress
from sitegen.messages.model import DeclaredConfig, Delivery
from sitegen.publish import SitePublisher
from sitegen.storage.store import Store
from tests.bench.timing import pairs

COUNTS = (1000, 10_000)
ROUNDS = 11
RUNS = 3
"""Ended runs of each mirror in the store."""

REVISION, JOURNAL = "a" * 40, "0" * 32
SIZE = 5 * 1024**3


def measure(folder: Path) -> None:
    """Print the figures for each number of mirrors."""
    print("publishing: wall time against writing, syncing and renaming the same files one by one")
    for count in COUNTS:
        bench = _Bench(folder / str(count), count)
        _print(count, "everything", *_first(bench))
        _print(count, "one report", *_each(bench, bench.report))
        bench.report("syncing")
        _print(count, "one progress", *_each(bench, bench.progress))
        bench.store.close()


def _print(count: int, what: str, ours: float, base: float, ratio: float) -> None:
    print(f"  {count:6} mirrors  {what:16}  {ours * 1000:7.0f} ms  by hand {base * 1000:7.0f} ms  ratio {ratio:.2f}")


class _Bench:
    """A store with that many mirrors on one worker, and what its publisher makes of it."""

    def __init__(self, folder: Path, count: int) -> None:
        self.site, self.by_hand = folder / "site", folder / "by-hand"
        self.store = Store(str(folder / "state"))
        self.publisher = SitePublisher(self.store, str(self.site))
        self._names = [f"mirror-{number}" for number in range(count)]
        self._number = 1
        now = time.time()
        mirrors = tuple(Mirror(name, "w1", "rsync", "rsync://up.example.org/x/", title=name) for name in self._names)
        self.store.keep_catalogue(DeclaredConfig(REVISION, now, Site("Bench"), {"w1": Worker("w1")}, mirrors, ()), now)
        runs = [
            (name, _run(1 + number * RUNS + n, now)) for number, name in enumerate(self._names) for n in range(RUNS)
        ]
        statuses = tuple(_status(name, run) for name, run in runs[RUNS - 1 :: RUNS])
        self._tell(Report(1, now, SNAPSHOT, statuses, tuple(runs)))

    def publish(self) -> float:
        """Publish, and give the seconds that it took."""
        began = time.perf_counter()
        self.publisher.publish(time.time())
        return time.perf_counter() - began

    def report(self, status: str = "success") -> None:
        """Let one mirror have another run."""
        self._number += 1
        run = _run(10**9 + self._number, time.time(), status)
        self._tell(Report(self._number, time.time(), "change", (_status(self._names[7], run),)))

    def progress(self) -> None:
        """Let one mirror, whose run is under way, be a little further."""
        self._tell(progress=(RunProgress(self._names[7], time.time(), 50.0, SIZE, SIZE, 1),))

    def _tell(self, *reports: Report, progress: tuple[RunProgress, ...] = ()) -> None:
        now = time.time()
        envelope = Envelope("w1", JOURNAL, now, "0.1.0", REVISION, 4, 1, (), reports, progress)
        self.store.apply([Delivery(envelope, now)])


def _run(number: int, now: float, status: str = "success") -> Run:
    return Run(number, status, now - 60, now - 60, now, 1, 0, "", 60.0, 12345, 12, SIZE)


def _status(name: str, run: Run) -> MirrorStatus:
    at = run.ended_at
    return MirrorStatus(name, "rsync://up.example.org/x/", True, run.status, run, run.started_at, at, at, at, SIZE)


def _first(bench: _Bench) -> tuple[float, float, float]:
    ours = bench.publish()
    base = _write_by_hand(bench, [path for path in bench.site.rglob("*") if path.is_file()])
    return ours, base, ours / base


def _each(bench: _Bench, change: Callable[[], None]) -> tuple[float, float, float]:
    """Time to publish a change, and to write the files that it altered by hand."""
    names = ("mirrors/mirror-7.html", "mirrors/mirror-7.json", "index.html", "status.json", "static/tunasync.json")

    def publish() -> float:
        change()
        return bench.publish()

    return pairs(publish, lambda: _write_by_hand(bench, [bench.site / name for name in names]), ROUNDS)


def _write_by_hand(bench: _Bench, paths: list[Path]) -> float:
    """Write each file aside, sync it and rename it, the folder's entry not synced; gives seconds."""
    contents = {bench.by_hand / path.relative_to(bench.site): path.read_bytes() for path in paths}
    for path in contents:
        path.parent.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    for path, content in contents.items():
        aside = path.with_name(f".{path.name}")
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    return time.perf_counter() - began
