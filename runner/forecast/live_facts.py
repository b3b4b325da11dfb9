"""What a running site adds to a forecast: sizes, durations of runs, and what its workers report. Pure functions."""

import statistics
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from runner.forecast.day_load import starts_a_day
from runner.forecast.forecast import ADDED, MOVED_HERE, LiveWorker, MirrorForecast
from runner.forecast.pairs import Pair
from schemas.records import Mirror, Worker
from schemas.units import format_duration

_DAY = 86400.0
_AHEAD = 90
"""Days for which the growth of a new mirror is expected."""

_RUNS = 3
"""Last successful runs that an interval is compared with."""


class PastSize(NamedTuple):
    """A successful run: when it ended (seconds since 1970 UTC), its duration in seconds, and the size in bytes.

    `free` are the bytes that were free then, None if not reported.
    """

    ended_at: float
    duration: float | None
    size: int | None
    free: int | None = None


class LiveCopy(NamedTuple):
    """A mirror on one worker: its size in bytes, and its last successful runs, newest first."""

    size: int | None
    runs: tuple[PastSize, ...] = ()


class ReportedWorker(NamedTuple):
    """A worker as its manager knows it: the state of its exported policy, None if it did not report one."""

    exported_policy: str | None = None


class LiveFacts(NamedTuple):
    """All copies by mirror and worker, and all workers by name."""

    copies: Mapping[tuple[str, str], LiveCopy]
    workers: Mapping[str, ReportedWorker]

    def size(self, mirror: MirrorForecast, worker: str) -> int | None:
        """Return the size of a mirror's data on a worker; of a new one there, that of the largest copy elsewhere."""
        names = [each for each in (mirror.name, mirror.previous) if each]
        if mirror.kind in (ADDED, MOVED_HERE):
            return max((self._sizes(names)), default=None)
        found = (self.copies.get((name, worker)) for name in names)
        return next((copy.size for copy in found if copy is not None and copy.size is not None), None)

    def free(self, worker: str) -> int | None:
        """Return the free bytes of a worker after the newest run that reported them; None if none did."""
        runs = (run for (_name, holder), copy in self.copies.items() if holder == worker for run in copy.runs)
        newest = max(((run.ended_at, run.free) for run in runs if run.free is not None), default=None)
        return newest[1] if newest else None

    def _sizes(self, names: Iterable[str]) -> Iterator[int]:
        wanted = set(names)
        for (name, _worker), copy in self.copies.items():
            if name in wanted and copy.size is not None:
                yield copy.size


def duration_doubts(pairs: Iterable[Pair], facts: LiveFacts) -> Iterator[tuple[str, str, str]]:
    """Yield mirrors that get an interval shorter than each of their last runs took: the name, what, and what to do."""
    for before, after in pairs:
        if after.cron or before is None or (before.interval <= after.interval and not before.cron):
            continue
        copy = facts.copies.get((before.name, after.worker))
        took = [run.duration for run in copy.runs[:_RUNS] if run.duration is not None] if copy else []
        if took and min(took) > after.interval:
            listed = ", ".join(map(format_duration, took))
            what = f"The interval {format_duration(after.interval)} is shorter than the last runs took: {listed}."
            yield after.name, what, "A run starts only after the last one has ended; use a longer interval."


def busy_slots(mirrors: Iterable[Mirror], worker: Worker | None, facts: LiveFacts, zone: str) -> float | None:
    """Return how many slots are in use on average, from the last durations; None if no duration is known."""
    known = False
    total = 0.0
    for mirror in mirrors:
        copy = facts.copies.get((mirror.name, mirror.worker))
        took = [run.duration for run in copy.runs[:_RUNS] if run.duration is not None] if copy else []
        if took:
            known = True
            total += starts_a_day(mirror, worker, zone) * statistics.median(took) / _DAY
    return round(total, 2) if known else None


def of_worker(name: str, mirrors: Iterable[MirrorForecast], facts: LiveFacts) -> LiveWorker:
    """Return what the site knows of a worker, and whether the mirrors that it gets fit."""
    new = [each for each in mirrors if each.kind in (ADDED, MOVED_HERE)]
    sizes = [facts.size(each, name) for each in new]
    known = [size for size in sizes if size is not None]
    grown = sum(known) + sum(_growth(each, facts) for each in new)
    reported, free = facts.workers.get(name, ReportedWorker()), facts.free(name)
    fits = None if free is None or not known else grown <= free
    return LiveWorker(reported.exported_policy, free, sum(known), grown, len(sizes) - len(known), fits)


def _growth(mirror: MirrorForecast, facts: LiveFacts) -> int:
    """Return the bytes by which a mirror grows in the days ahead if it goes on as in the history of its copies."""
    found = [
        _rate(copy.runs) for (name, _worker), copy in facts.copies.items() if name in (mirror.name, mirror.previous)
    ]
    return round(max(found, default=0.0) * _AHEAD)


def _rate(runs: tuple[PastSize, ...]) -> float:
    """Return bytes a day between the oldest and the newest run with a size; 0 if they are less than a day apart."""
    sized = [(run.ended_at, run.size) for run in runs if run.size is not None]
    if len(sized) < 2:
        return 0.0
    (newest, size), (oldest, before) = sized[0], sized[-1]
    days = (newest - oldest) / _DAY
    return max(0.0, (size - before) / days) if days >= 1 else 0.0
