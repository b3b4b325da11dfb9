"""`skipjack tick`: settle what died, decide what is due, launch it, end.

No HTTP, no git, no YAML. When the agenda says that there is nothing to do, `idle` says so without even loading SQLite.
"""

import os
import time

from runner.base import locks, start_requests
from runner.base.state_dir import Places
from runner.tick import next_wake

PATIENCE = 20.0
"""Seconds to wait for the tick at work."""

HORIZON = 3600.0
"""Seconds after which a tick looks at everything again, whatever the agenda says."""


UNWATCHED = 600.0
"""Seconds after which others than `follow`, which does so every three minutes, check the units that start programs."""


def idle(places: Places, now: float) -> bool:
    """Tell whether there is nothing to do: nothing changed, nothing is due and every run still has its supervisor."""
    if are_units_unwatched(places, now):
        return False
    current, _newest = next_wake.stamp(_watched(places))
    names = next_wake.read(places.agenda, current, now)
    return names is not None and all(locks.is_held(places.lock("supervisor", name)) for name in names)


def are_units_unwatched(places: Places, now: float) -> bool:
    """Whether nobody has checked the units for long, on a machine where somebody did (see `unit_health`)."""
    try:
        return abs(now - os.stat(places.units).st_mtime) > UNWATCHED
    except OSError:
        return False


def _watched(places: Places) -> tuple[str, ...]:
    return places.plan, places.journal, f"{places.journal}-wal"


def tick(places: Places, *, only_requested: bool = False, patient: bool = True) -> int:
    """Do one tick and return the number of runs that it launched; with `only_requested` it launches the mirrors alone
    that somebody asked for by name.

    One that is not `patient` leaves it to another tick of its kind that is about to begin: every run wants a tick when
    it ends, and those of a hundred short runs would wait for each other.
    """
    if not only_requested:
        start_requests.take(places, "tick")
    turn = _turn(places, only_requested, patient)
    if turn is None:
        return 0
    with turn as held:
        if not held:
            from schemas.errors import SkipjackError
            from schemas.lock_holders import described

            who = described(places.lock("program", "tick"))
            todo = "See what hangs; the next one tries again."
            raise SkipjackError(f"Another tick has been at work for 20 seconds: {who}.", todo)
        if idle(places, time.time()):
            return 0
        launched, orphans = _work(places, only_requested=only_requested)
    if orphans:
        with locks.Held(places.lock("program", "orphans")) as held:
            if held:
                from runner.tick.crash_recovery import end_orphans

                end_orphans(places, orphans)
        with locks.Held(places.lock("program", "tick"), wait=PATIENCE) as held:
            if held:
                launched += _work(places, only_requested=only_requested)[0]
    return launched


def _turn(places: Places, only_requested: bool, patient: bool) -> "locks.Held | None":
    """Wait for the end of the tick at work; None when another one waits already, which has yet to look at anything."""
    with locks.Held(places.next_tick(only_requested=only_requested), wait=PATIENCE if patient else 0.0) as first:
        return locks.Held(places.lock("program", "tick"), wait=PATIENCE) if first or patient else None


def _work(places: Places, *, only_requested: bool) -> tuple[int, list[str]]:
    """Do what there is to do; gives the number of launched runs, and the mirrors that orphans are at work on."""
    from runner.tick.cycle import work

    now = time.time()
    current, newest = next_wake.stamp(_watched(places))
    done = work(places, now, only_requested=only_requested)
    if not only_requested and newest < now - next_wake.SETTLED and not done.orphans:
        next_wake.write(places.agenda, current, now, min(done.wake_at or now + HORIZON, now + HORIZON), done.active)
    return done.launched, done.orphans
