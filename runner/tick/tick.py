"""`skipjack tick`: recover crashed runs, launch what is due, and end.

No HTTP, no git, no YAML. When the next-wake cache shows that there is nothing to do, it is not even loaded.
"""

import time
from typing import TYPE_CHECKING, NamedTuple

from runner.base import locks, next_wake, start_requests
from runner.base.state_dir import StateLayout

if TYPE_CHECKING:  # an idle tick does without
    from runner.tick.cycle import CycleResult

LOCK_TIMEOUT = 20.0
"""Seconds to wait for another tick."""

LET_IN = 0.1
"""Seconds without the lock, so that a tick that waits gets it: it tries every 20 ms."""

LONGEST = 60.0
"""Seconds after which a tick leaves the rest of the queue to a new one: systemd ends it after 5 minutes."""

HORIZON = 3600.0
"""Seconds after which a tick looks at everything again, whatever the next-wake cache says."""


class Launches(NamedTuple):
    """How many runs a tick has started, and how many it could not start, with a message about each."""

    started: int = 0
    failed: int = 0

    def plus(self, other: "CycleResult | Launches | None") -> "Launches":
        """Return the sum of both."""
        if other is None:
            return self
        return Launches(self.started + other.started, self.failed + other.failed)


def tick(layout: StateLayout, *, only_requested: bool = False, patient: bool = True) -> Launches:
    """Do one tick and return the numbers of runs that it launched.

    With `only_requested` it launches only the mirrors that were requested by name. A tick that is not `patient` returns
    at once when another of its kind already waits for its turn: every run wakes a tick when it ends, and those of a
    hundred short runs would wait for each other. SkipjackError when another tick does not end.
    """
    if not only_requested:
        start_requests.take(layout, "tick")
    launched, orphans = _tick(layout, only_requested, patient)
    # without the tick's lock, since it may take the grace period of SIGTERM, and other mirrors must not wait for that
    if orphans:
        with locks.Held(layout.lock("program", "orphans")) as held:
            if held:
                from runner.tick.crash_recovery import end_orphans

                end_orphans(layout, orphans)
        launched = launched.plus(_tick(layout, only_requested, patient)[0])
    return launched


def _tick(layout: StateLayout, only_requested: bool, patient: bool) -> tuple[Launches, list[str]]:
    """Do what is due, in several turns if others want one; return the numbers of runs, and the mirrors with orphans."""
    done = _in_turn(layout, only_requested, patient)
    launched = Launches().plus(done)
    latest = time.monotonic() + LONGEST
    while done is not None and not done.finished:
        if time.monotonic() >= latest:
            from runner.subprocesses import launch

            launch.want_tick(layout, only_requested=only_requested)
            break
        only_requested = _let_others_go_first(layout, only_requested)
        done = _in_turn(layout, only_requested, patient)
        launched = launched.plus(done)
    return launched, done.orphans if done else []


def _in_turn(layout: StateLayout, only_requested: bool, patient: bool) -> "CycleResult | None":
    """Do what is due once no other tick is active; None if another one does it, or if there is nothing to do."""
    turn = _turn(layout, only_requested, patient)
    if turn is None:
        return None
    with turn as held:
        if not held:
            from schemas.errors import SkipjackError
            from schemas.lock_holders import described

            who = described(layout.lock("program", "tick"))
            todo = "Check what it is waiting for. The next tick tries again."
            raise SkipjackError(f"another tick has been running for {LOCK_TIMEOUT:g} s: {who}.", todo)
        return None if next_wake.is_idle(layout, time.time()) else _work(layout, only_requested=only_requested)


def _let_others_go_first(layout: StateLayout, only_requested: bool) -> bool:
    """Give ticks that wait the time to take the lock; return whether to go on with requested mirrors only.

    Requests for a tick are taken: while this program runs, systemd does not start another one for them.
    """
    time.sleep(LET_IN)
    everything, _requested = start_requests.take(layout, "tick"), start_requests.take(layout, "start")
    return only_requested and not everything


def _turn(layout: StateLayout, only_requested: bool, patient: bool) -> "locks.Held | None":
    """Wait for the end of another tick; None when a third one waits already, which will see everything that is new."""
    with locks.Held(layout.next_tick(only_requested=only_requested), wait=LOCK_TIMEOUT if patient else 0.0) as first:
        return locks.Held(layout.lock("program", "tick"), wait=LOCK_TIMEOUT) if first or patient else None


def _work(layout: StateLayout, *, only_requested: bool) -> "CycleResult":
    """Do what is due, and write the next-wake cache if that leaves nothing to do."""
    from runner.tick.cycle import work

    now = time.time()
    # Before the work: a change that another program makes during it must void the cache. Our own changes do the same,
    # so the next tick, which finds nothing to do, writes it.
    current, newest = next_wake.stamp(next_wake.watched(layout))
    done = work(layout, now, only_requested=only_requested)
    # a file that was just written may change again with the same time stamp, so the cache cannot rely on it
    is_settled = newest < now - next_wake.SETTLED
    if is_settled and not only_requested and done.finished and not done.orphans:
        next_wake.write(layout.next_wake, current, now, min(done.wake_at or now + HORIZON, now + HORIZON), done.active)
    return done
