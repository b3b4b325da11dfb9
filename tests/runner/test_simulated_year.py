"""A year of a worker with many mirrors: the real decision, a clock that jumps from event to event.

Everything that happens within two hours is seen at their end, as by a timer of two hours. `make test` has a worker of
250 mirrors, `make test-release` also one of a thousand with as many mirrors for each slot.
"""

import bisect
import heapq
import itertools
import math
import random
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from runner.plan.plan import Due
from runner.plan.schedule import Rules, State, World, count_failures, decide, due_at
from schemas.clock.cron import next_time
from schemas.clock.windows import opening
from schemas.records import SyncWindows
from schemas.states import FAILED, INTERRUPTED, SUCCESS, SYNCING

HOUR = 3600
DAY = 24 * HOUR
GRAIN = 2 * HOUR
ZONE = "America/New_York"
BEGIN = 1_798_761_600.0
"""2027-01-01 00:00 UTC."""

DOWN = BEGIN + 150 * DAY
UP = DOWN + 7 * DAY
"""A week in which the machine is off."""

END = BEGIN + 365 * DAY
NIGHT = SyncWindows(allowed=("20:00-08:00",))
WEEKEND = SyncWindows(allowed=("fri 22:00-24:00", "sat,sun 00:00-24:00"), stop_running=True)
TIMES = ("30 2 * * sun", "0 4 1,15 * *", "15 3 * * tue", "0 22 * * 5", "30 1 1 * *", "0 12 */9 * *")


MIRRORS_PER_SLOT = 40


class SimulatedRun(NamedTuple):
    """One run as it went: when it was due and began, what the state was before, and how it ended, and when."""

    mirror: Due
    due_at: float
    before: State
    start: float
    end: float
    status: str


def mirrors(chance: random.Random, count: int) -> list[Due]:
    """Of a hundred 15 have fixed times, 10 follow another one, and 15 have windows."""
    made = []
    for number in range(count):
        interval = chance.randint(5 * DAY, 20 * DAY)
        mirror = Due(f"m{number}", interval, jitter=10 * HOUR)
        if number < count * 15 // 100:
            mirror = mirror._replace(cron=chance.choice(TIMES), jitter=20 * 60, since=BEGIN)
        elif number < count // 4:
            mirror = mirror._replace(after=(f"m{number + count // 10}",))
        elif number < count * 2 // 5:
            mirror = mirror._replace(sync_windows=chance.choice((NIGHT, WEEKEND)))
        made.append(mirror)
    chance.shuffle(made)
    return made


class SimulatedWorker:
    """A worker whose runs take a random time and sometimes fail."""

    def __init__(self, chance: random.Random, count: int) -> None:
        self.chance, self.mirrors = chance, mirrors(chance, count)
        self.rules = Rules("w1", count // MIRRORS_PER_SLOT, ZONE)
        self.by_name = {mirror.name: mirror for mirror in self.mirrors}
        self.states: dict[str, State] = {}
        self.runs: list[SimulatedRun] = []
        self.decisions = self.fullest = 0
        self._ends: list[tuple[float, str]] = []
        self._begun: dict[str, tuple[float, State, float]] = {}

    def always_fails(self, mirror: Due) -> bool:
        """Whether it is the last of a hundred."""
        return int(mirror.name[1:]) >= len(self.mirrors) * 99 // 100

    def live(self) -> None:
        """Go through the year, from one event to the next."""
        now, was_down = BEGIN, False
        while now < END:
            if DOWN <= now < UP:
                was_down, now = True, UP
            if was_down:
                was_down = False
                for name in list(self._begun):
                    self._end(name, INTERRUPTED, now)
            while self._ends and self._ends[0][0] <= now:
                end, name = heapq.heappop(self._ends)
                if self._begun.get(name, (0.0, None, 0.0))[2] == end:
                    self._end(name, self._outcome(name), now)
            now = self._tick(now)

    def _tick(self, now: float) -> float:
        world = World(self.rules, self.states, {}, frozenset(self.by_name))
        decision = decide(self.mirrors, world, now)
        self.decisions += 1
        for name in decision.stop:
            self._end(name, INTERRUPTED, now)
        if decision.stop:
            return now  # their ends make the next tick
        for name in decision.launch:
            self._start(name, now)
        self.fullest = max(self.fullest, len(self._begun))
        moments = [moment for moment in (decision.wake_at, self._ends[0][0] if self._ends else None) if moment]
        return max(now + GRAIN, math.ceil(min(moments, default=END) / GRAIN) * GRAIN)

    def _start(self, name: str, now: float) -> None:
        before = self.states.get(name) or State("none")
        due = due_at(self.by_name[name], self.states.get(name), self.rules, now)
        end = now + HOUR * self.chance.choice((1, 1, 2, 2, 3, 6, 14))
        self._begun[name] = (due, before, end)
        self.states[name] = before._replace(status=SYNCING, last_started_at=now)
        heapq.heappush(self._ends, (end, name))

    def _outcome(self, name: str) -> str:
        return FAILED if self.always_fails(self.by_name[name]) or self.chance.random() < 0.05 else SUCCESS

    def _end(self, name: str, status: str, now: float) -> None:
        due, before, _end = self._begun.pop(name)
        state = self.states[name]
        start = state.last_started_at or 0.0
        self.runs.append(SimulatedRun(self.by_name[name], due, before, start, now, status))
        success = now if status == SUCCESS else state.last_success_at
        counted = count_failures(state, status)
        self.states[name] = State(status, start, now, success, failures=counted.failures)


@pytest.fixture(scope="module", params=[250, pytest.param(1000, marks=pytest.mark.release)])
def worker(request: pytest.FixtureRequest) -> SimulatedWorker:
    lived = SimulatedWorker(random.Random(20270101), request.param)
    lived.live()
    return lived


def of(worker: SimulatedWorker) -> dict[str, list[SimulatedRun]]:
    """The runs of each mirror in order."""
    runs: dict[str, list[SimulatedRun]] = {name: [] for name in worker.by_name}
    for run in worker.runs:
        runs[run.mirror.name].append(run)
    return runs


def is_calm(moment: float) -> bool:
    """Whether neither the first runs of all mirrors nor what the downtime left fill the slots."""
    return BEGIN + 20 * DAY < moment < DOWN - DAY or moment > UP + 12 * DAY


def plain(worker: SimulatedWorker) -> Iterator[SimulatedRun]:
    """Runs of mirrors that wait for nothing but their time and a slot."""
    return (run for run in worker.runs if not run.mirror.after and run.mirror.sync_windows is None)


def test_there_was_something_to_see(worker: SimulatedWorker) -> None:
    statuses = [run.status for run in worker.runs]

    count = len(worker.mirrors)
    assert len(worker.runs) > 15 * count
    assert statuses.count(FAILED) > count / 2 and statuses.count(INTERRUPTED) >= count / 25
    assert worker.fullest == worker.rules.slots, "slots were scarce at times"
    assert worker.decisions < 365 * 24, "it went from event to event"


def test_never_more_runs_than_slots(worker: SimulatedWorker) -> None:
    moves = sorted([(run.start, 1) for run in worker.runs] + [(run.end, -1) for run in worker.runs])
    level = 0
    for _at, move in moves:
        level += move
        assert level <= worker.rules.slots


def test_no_two_runs_for_one_due_time(worker: SimulatedWorker) -> None:
    for name, runs in of(worker).items():
        for earlier, later in itertools.pairwise(runs):
            assert later.start >= earlier.end, name
            if earlier.status == INTERRUPTED:
                continue
            if later.mirror.cron:
                due = next_time(later.mirror.cron, ZONE, earlier.start)
                assert due is not None and due <= later.start, f"{name} ran twice for one of its times"
            else:
                assert later.start >= earlier.end + later.mirror.interval, f"{name} ran again too early"


def test_every_fixed_time_is_served_in_time_or_after_the_downtime(worker: SimulatedWorker) -> None:
    for runs in of(worker).values():
        for earlier, later in itertools.pairwise(runs):
            if later.mirror.cron and earlier.status != INTERRUPTED:
                due = next_time(later.mirror.cron, ZONE, earlier.start) or 0.0
                late = later.start - max(due, earlier.end)
                assert late < (2 * DAY if is_calm(due) else 8 * DAY)


def test_no_mirror_starves(worker: SimulatedWorker) -> None:
    first = [run.start - BEGIN for run in worker.runs if run.due_at == 0 and not run.mirror.after]
    late = [run.start - run.due_at for run in plain(worker) if run.due_at > 0]
    calm = [run.start - run.due_at for run in plain(worker) if is_calm(run.due_at)]

    assert max(calm) < 2 * DAY, "not even when all weekend mirrors begin"
    assert max(first) < 15 * DAY, "everybody had a first run within days"
    assert max(late) < 12 * DAY, "and the downtime is made up for within days"


def test_mirrors_that_became_due_in_the_downtime_start_the_most_overdue_first(worker: SimulatedWorker) -> None:
    waited = [run for run in plain(worker) if 0 < run.due_at < UP <= run.start and run.before.status != INTERRUPTED]
    waited.sort(key=lambda run: run.start)

    assert len(waited) > len(worker.mirrors) / 10, "there was something to make up for"
    by_start: dict[float, list[float]] = {}
    for run in waited:
        by_start.setdefault(run.start, []).append(run.due_at)
    batches = [by_start[start] for start in sorted(by_start)]
    assert all(len(batch) <= worker.rules.slots for batch in batches)
    assert all(max(one) <= min(other) for one, other in itertools.pairwise(batches))


def test_every_mirror_was_synced_about_as_often_as_it_should(worker: SimulatedWorker) -> None:
    for name, runs in of(worker).items():
        mirror = worker.by_name[name]
        if mirror.cron:
            expected = 11
        elif worker.always_fails(mirror):
            expected = 15
        else:
            longest = max([mirror.interval, *(worker.by_name[other].interval for other in mirror.after)])
            # windows on weekends alone, and the mirrors in `after`, delay it by up to a week
            expected = (
                int(350 * DAY / (longest + 8 * DAY))
                if mirror.after or mirror.sync_windows
                else int(350 * DAY / (mirror.interval + DAY))
            )
        assert len(runs) >= expected, f"{name} {mirror}"


def is_open(hours: tuple[SyncWindows, ...], zone: str, moment: float) -> bool:
    span = opening(hours, zone, moment)
    return span is not None and span.opens_at <= moment


def test_sync_windows_and_mirrors_in_after_are_respected(worker: SimulatedWorker) -> None:
    runs = of(worker)
    successes = {name: [run.end for run in of_one if run.status == SUCCESS] for name, of_one in runs.items()}
    for run in worker.runs:
        assert is_open((run.mirror.sync_windows,) if run.mirror.sync_windows else (), ZONE, run.start)
        if run.mirror.sync_windows is WEEKEND and run.status != INTERRUPTED:
            assert is_open((WEEKEND,), ZONE, run.end - GRAIN), "it was stopped when its sync window closed"
        for other in run.mirror.after:
            since = run.before.last_started_at or 0.0
            index = bisect.bisect_right(successes[other], run.start)
            assert index and successes[other][index - 1] > since, "a success since the last start"
            assert not any(each.start < run.start < each.end for each in runs[other]), "at rest"


def test_a_mirror_that_always_fails_is_tried_less_often_up_to_the_limit() -> None:
    mirror, now, state = Due("m", HOUR), BEGIN, State(FAILED, BEGIN, BEGIN, failures=1)
    waits = []
    for failures in range(1, 8):
        state = state._replace(last_ended_at=now, failures=failures)
        decision = decide([mirror], World(Rules("w1", 1, ZONE), {"m": state}, {}, frozenset("m")), now)
        assert decision.wake_at is not None
        waits.append((decision.wake_at - now) / HOUR)
        now = decision.wake_at
    assert waits == [1, 2, 4, 8, 8, 8, 8]
