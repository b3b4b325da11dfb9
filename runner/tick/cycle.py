"""What a tick does when there is something to do: settle what died, decide what is due, launch it, stop what must end.

Apart from the tick, which must not load any of this when there is nothing to do.
"""

from typing import NamedTuple

from runner.base import wakeup
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Active, Ending, Journal, Subject
from runner.plan import plan, schedule
from runner.plan.plan import Plan, Planned
from runner.plan.schedule import Decision, State
from runner.subprocesses import launch
from runner.tick import crash_recovery
from schemas.states import LAUNCH_FAILED, LAUNCHING, QUEUED

AT_ONCE = 500
"""Mirrors that are recorded as waiting in one transaction; runs that begin meanwhile wait for its end."""


class Done(NamedTuple):
    """How many runs were launched, the mirrors that have a run, those that orphans are at work on, and when something
    is to be done again by itself (None: not foreseeable)."""

    launched: int
    active: list[str]
    orphans: list[str]
    wake_at: float | None


def work(layout: StateLayout, now: float, *, only_requested: bool = False) -> Done:
    """Do all that is to be done now; with `only_requested` launch the mirrors alone that somebody asked for by name."""
    with plan.opened(layout.plan) as opened, journal.opened(layout.journal) as book:
        crash_recovery.settle(layout, book, now)
        states, aliases = _states(opened, book, now)
        held = _is_held(opened, book)
        mirrors, world = schedule.world(opened, states, book.operator_requests(), held=held)
        decision = schedule.decide(mirrors, world, now, only_requested=only_requested)
        waiting = [name for name in decision.wait if name not in states or states[name].status != QUEUED]
        decision = decision._replace(wait=waiting)
        launched = _launch(layout, opened, book, decision, now, by_request=only_requested)
        if decision.stop:
            from runner.subprocesses import stopping  # few ticks stop a run

            ended = [aliases.get(name, name) for name in decision.stop]  # whose locks have the names they began with
            book.tell(ended, "the hours in which it may be synced are over")
            stopping.stop(layout, ended)
        if book.pending():
            wakeup.wake_courier(opened.header.run_dir)
        active = [each.mirror for each in book.active()]
        return Done(launched, active, crash_recovery.orphaned(layout, book), decision.wake_at)


def _is_held(opened: Plan, book: Journal) -> bool:
    if not opened.header.held:
        return False
    from runner.overrides import hold  # few workers need it

    return hold.is_held(opened.header, book)


def _states(opened: Plan, book: Journal, now: float) -> tuple[dict[str, State], dict[str, str]]:
    """The states of mirrors by their names of today, and the former names under which runs of some are under way."""
    renamed = opened.renamed()
    if not renamed:
        return book.states(), {}
    from runner.journal import rename_migration

    aliases = rename_migration.continue_history(book, renamed, now)
    return rename_migration.under_current_names(book.states(), aliases), aliases


def _launch(
    layout: StateLayout, opened: Plan, book: Journal, decision: Decision, now: float, *, by_request: bool
) -> int:
    """Announce and start the runs that were decided on, then record what waits; gives the number of runs.

    Those that wait are new among the waiting: thousands may wait for long, and reading all of them would cost each
    start as much as there are mirrors.
    """
    planned = _planned(opened, decision.launch)
    runs = book.launch([Subject.of(each) for each in planned], [], now, by_request=by_request)
    mirrors = {each.mirror.name: each.mirror for each in planned}
    for name, reason in launch.launch(layout, opened.header.run_dir, runs, mirrors).items():
        ending = Ending(LAUNCH_FAILED, reason, next_run_at=now + schedule.RECOVERY_DELAY)
        book.settle(Active(runs[name], name, LAUNCHING, now), ending, now)  # unless it has begun all the same
    for first in range(0, len(decision.wait), AT_ONCE):
        waiting = _planned(opened, decision.wait[first : first + AT_ONCE])
        book.launch([], [Subject.of(each) for each in waiting], now)
    return len(runs)


def _planned(opened: Plan, names: list[str]) -> list[Planned]:
    return [found for name in names if (found := opened.mirror(name)) is not None]
