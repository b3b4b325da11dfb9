"""`skipjack tick`: recover crashed runs, launch what is due, and end.

No HTTP, no git, no YAML. When the next-wake cache shows that there is nothing to do, it is not even loaded.
"""

import time

from runner.base import locks, next_wake, start_requests
from runner.base.state_dir import StateLayout

LOCK_TIMEOUT = 20.0
"""Seconds to wait for another tick."""

HORIZON = 3600.0
"""Seconds after which a tick looks at everything again, whatever the next-wake cache says."""


def tick(layout: StateLayout, *, only_requested: bool = False, patient: bool = True) -> int:
    """Do one tick and return the number of runs that it launched.

    With `only_requested` it launches only the mirrors that were requested by name. A tick that is not `patient` returns
    at once when another of its kind already waits for its turn: every run wakes a tick when it ends, and those of a
    hundred short runs would wait for each other. SkipjackError when another tick does not end.
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
            todo = "Check what it is waiting for. The next tick tries again."
            raise SkipjackError(f"another tick has been running for {LOCK_TIMEOUT:g} s: {who}.", todo)
        if next_wake.is_idle(layout, time.time()):
            return 0
        launched, orphans = _work(layout, only_requested=only_requested)
    # without the tick's lock, since it may take the grace period of SIGTERM, and other mirrors must not wait for that
    if orphans:
        with locks.Held(layout.lock("program", "orphans")) as held:
            if held:
                from runner.tick.crash_recovery import end_orphans

                end_orphans(layout, orphans)
        with locks.Held(layout.lock("program", "tick"), wait=LOCK_TIMEOUT) as held:
            if held:
                launched += _work(layout, only_requested=only_requested)[0]
    return launched


def _turn(layout: StateLayout, only_requested: bool, patient: bool) -> "locks.Held | None":
    """Wait for the end of another tick; None when a third one waits already, which will see everything that is new."""
    with locks.Held(layout.next_tick(only_requested=only_requested), wait=LOCK_TIMEOUT if patient else 0.0) as first:
        return locks.Held(layout.lock("program", "tick"), wait=LOCK_TIMEOUT) if first or patient else None


def _work(layout: StateLayout, *, only_requested: bool) -> tuple[int, list[str]]:
    """Do what is due; return the number of launched runs, and the mirrors with orphans."""
    from runner.tick.cycle import work

    now = time.time()
    # Before the work: a change that another program makes during it must void the cache. Our own changes do the same,
    # so the next tick, which finds nothing to do, writes it.
    current, newest = next_wake.stamp(next_wake.watched(layout))
    done = work(layout, now, only_requested=only_requested)
    # a file that was just written may change again with the same time stamp, so it is no base for the cache
    if not only_requested and newest < now - next_wake.SETTLED and not done.orphans:
        next_wake.write(layout.next_wake, current, now, min(done.wake_at or now + HORIZON, now + HORIZON), done.active)
    return done.launched, done.orphans
