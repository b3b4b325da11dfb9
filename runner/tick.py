"""`skipjack tick`: settle what died, decide what is due, launch it, end.

No HTTP, no git, no YAML. When the agenda says that there is nothing to do, `idle` says so without even loading SQLite.
"""

import time

from runner import agenda, locks, wishes
from runner.places import Places

HORIZON = 3600.0
"""Seconds after which a tick looks at everything again, whatever the agenda says."""


def idle(places: Places, now: float) -> bool:
    """Tell whether there is nothing to do: nothing changed, nothing is due and every run still has its supervisor."""
    current, _newest = agenda.stamp(_watched(places))
    names = agenda.read(places.agenda, current, now)
    return names is not None and all(locks.is_held(places.lock("supervisor", name)) for name in names)


def _watched(places: Places) -> tuple[str, ...]:
    return places.plan, places.journal, f"{places.journal}-wal"


def tick(places: Places) -> int:
    """Do one tick and give the number of runs that it launched."""
    wishes.take(places, "tick")
    with locks.Held(places.lock("program", "tick"), wait=20.0) as ours:
        if not ours:
            from schemas.errors import SkipjackError

            raise SkipjackError(
                "Another tick has been at work for 20 seconds.", "See what hangs; the next one tries again."
            )
        if idle(places, time.time()):
            return 0
        launched, orphans = _work(places)
    if orphans:
        with locks.Held(places.lock("program", "orphans")) as ours:
            if ours:
                from runner.settle import end_orphans

                end_orphans(places, orphans)
        with locks.Held(places.lock("program", "tick"), wait=20.0) as ours:
            if ours:
                launched += _work(places)[0]
    return launched


def _work(places: Places) -> tuple[int, list[str]]:
    """Settle, decide and launch; gives the number of launched runs, and the mirrors that orphans are at work on."""
    from runner import bell, journal, launch, plan, schedule, settle
    from runner.journal import Ending, Subject
    from schemas.states import LAUNCH_FAILED

    now = time.time()
    current, newest = agenda.stamp(_watched(places))
    with plan.opened(places.plan) as opened, journal.opened(places.journal) as book:
        settle.settle(places, book, now)
        decision = schedule.decide(opened.due(), book.states(), opened.header.slots, now)
        chosen = {name: opened.mirror(name) for name in (*decision.launch, *decision.wait)}
        subjects = {
            name: Subject(name, found.mirror.upstream, found.mirror.role == "master", found.revision)
            for name, found in chosen.items()
            if found is not None
        }
        runs = book.launch(
            [subjects[name] for name in decision.launch], [subjects[name] for name in decision.wait], now
        )
        mirrors = {name: found.mirror for name, found in chosen.items() if found is not None}
        for name, reason in launch.launch(places, opened.header.run_dir, runs, mirrors).items():
            book.end(runs[name], name, Ending(LAUNCH_FAILED, reason, next_run_at=now + schedule.RECOVERY_DELAY), now)
        if book.pending():
            bell.ring(opened.header.run_dir)
        active = [each.mirror for each in book.active()]
        orphans = settle.orphaned(places, book)
    if newest < now - agenda.SETTLED and not orphans:
        agenda.write(places.agenda, current, now, min(decision.wake_at or now + HORIZON, now + HORIZON), active)
    return len(runs), orphans
