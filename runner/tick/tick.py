"""`skipjack tick`: recover crashed runs, decide what is due, launch it, end.

No HTTP, no git, no YAML. When the next-wake cache shows that there is nothing to do, it is not even loaded.
"""

import time

from runner.base import locks, next_wake, start_requests
from runner.base.state_dir import StateLayout

PATIENCE = 20.0
"""Seconds to wait for the tick at work."""

HORIZON = 3600.0
"""Seconds after which a tick looks at everything again, whatever the next-wake cache says."""


def tick(layout: StateLayout, *, only_requested: bool = False, patient: bool = True) -> int:
    """Do one tick and return the number of runs that it launched; with `only_requested` it launches the mirrors alone
    that somebody asked for by name.

    One that is not `patient` leaves it to another tick of its kind that is about to begin: every run wants a tick when
    it ends, and those of a hundred short runs would wait for each other.
    """
    if not only_requested:
        start_requests.take(layout, "tick")
    turn = _turn(layout, only_requested, patient)
    if turn is None:
        return 0
    with turn as held:
        if not held:
            from schemas.errors import SkipjackError
            from schemas.lock_holders import described

            who = described(layout.lock("program", "tick"))
            todo = "See what hangs; the next one tries again."
            raise SkipjackError(f"Another tick has been at work for 20 seconds: {who}.", todo)
        if next_wake.is_idle(layout, time.time()):
            return 0
        launched, orphans = _work(layout, only_requested=only_requested)
    if orphans:
        with locks.Held(layout.lock("program", "orphans")) as held:
            if held:
                from runner.tick.crash_recovery import end_orphans

                end_orphans(layout, orphans)
        with locks.Held(layout.lock("program", "tick"), wait=PATIENCE) as held:
            if held:
                launched += _work(layout, only_requested=only_requested)[0]
    return launched


def _turn(layout: StateLayout, only_requested: bool, patient: bool) -> "locks.Held | None":
    """Wait for the end of the tick at work; None when another one waits already, which has yet to look at anything."""
    with locks.Held(layout.next_tick(only_requested=only_requested), wait=PATIENCE if patient else 0.0) as first:
        return locks.Held(layout.lock("program", "tick"), wait=PATIENCE) if first or patient else None


def _work(layout: StateLayout, *, only_requested: bool) -> tuple[int, list[str]]:
    """Do what there is to do; gives the number of launched runs, and the mirrors that orphans are at work on."""
    from runner.tick.cycle import work

    now = time.time()
    current, newest = next_wake.stamp(next_wake.watched(layout))
    done = work(layout, now, only_requested=only_requested)
    if not only_requested and newest < now - next_wake.SETTLED and not done.orphans:
        next_wake.write(layout.next_wake, current, now, min(done.wake_at or now + HORIZON, now + HORIZON), done.active)
    return done.launched, done.orphans
