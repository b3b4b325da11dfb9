"""What a tick does when it is not idle: recover crashed runs, decide what is due, launch it, stop what must end.

Kept apart from `tick.py`, since an idle tick must not load any of this.
"""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Active, Ending, Journal, Subject
from runner.plan import plan, schedule
from runner.plan.plan import Plan, Planned
from runner.plan.schedule import Decision, State
from runner.tick import crash_recovery
from schemas import wakeup
from schemas.states import LAUNCH_FAILED, LAUNCHING, QUEUED

AT_ONCE = 500
"""Mirrors that are recorded in one transaction. A run that starts meanwhile waits for its end."""


class CycleResult(NamedTuple):
    """The number of started runs, the mirrors that have a run, those with orphans, and the time of the next wake.

    `failed` is the number of runs that could not be started. `wake_at` is in seconds since 1970 UTC, None when nothing
    is known to become due. `finished` is False when queued mirrors were left to the next tick.
    """

    started: int
    failed: int
    active: list[str]
    orphans: list[str]
    wake_at: float | None
    finished: bool = True


def work(layout: StateLayout, now: float, *, only_requested: bool = False) -> CycleResult:
    """Do what is due now. With `only_requested` launch only the mirrors that were requested by name."""
    with plan.opened(layout.plan) as opened, journal.opened(layout.journal) as book:
        # First, since a run that has died occupies a slot until its end is recorded.
        crash_recovery.recover_runs(layout, book, now)
        states, aliases = _states(opened, book, now)
        held = _is_held(opened, book)
        mirrors, world = schedule.world(opened, states, book.operator_requests(), held=held)
        decision = schedule.decide(mirrors, world, now, only_requested=only_requested)
        # Without those that were queued before: thousands may wait for hours, and writing them again would cost each
        # tick as much as there are mirrors.
        waiting = [name for name in decision.wait if name not in states or states[name].status != QUEUED]
        decision = decision._replace(wait=waiting)
        launched, failed = _launch(layout, opened, book, decision, now, by_request=only_requested)
        if decision.stop:
            from runner.subprocesses import stopping  # loaded here, since few ticks stop a run

            ended = [aliases.get(name, name) for name in decision.stop]  # locks keep the names of the start
            book.give_reason_to_stop(ended, "its sync window is over")
            stopping.stop(layout, ended)
        taken = {*decision.launch, *decision.wait}
        next_runs = {name: at for name, at in decision.next_runs.items() if name not in taken}
        finished = _record_waiting(layout, opened, book, decision.wait, next_runs, states, now)
        if book.outbox.pending():
            wakeup.send(opened.header.run_dir, wakeup.COURIER)
        # Read again after the launches: the next-wake cache must have all runs whose supervisors have to live.
        active = [each.mirror for each in book.active()]
        return CycleResult(
            launched, failed, active, crash_recovery.mirrors_with_orphans(layout, book), decision.wake_at, finished
        )


def _is_held(opened: Plan, book: Journal) -> bool:
    if not opened.header.held:
        return False
    from runner.overrides import hold  # loaded here, since few workers are held

    return hold.is_held(opened.header, book)


def _states(opened: Plan, book: Journal, now: float) -> tuple[dict[str, State], dict[str, str]]:
    """Return the states by the current names, and for mirrors whose run has a previous name that name."""
    renamed = opened.renamed()
    if not renamed:
        return book.states(), {}
    from runner.journal import rename_migration

    aliases = rename_migration.continue_history(book, renamed, now)
    return rename_migration.under_current_names(book.states(), aliases), aliases


def _launch(
    layout: StateLayout, opened: Plan, book: Journal, decision: Decision, now: float, *, by_request: bool
) -> tuple[int, int]:
    """Record and start the runs that are due; return how many were started, and how many could not be.

    A run is recorded before it is started, so that one that dies at once is known.
    """
    planned = _planned(opened, decision.launch)
    if not planned:
        return 0, 0
    from runner.subprocesses import launch  # loaded here, since most ticks start no run, and before one is recorded

    runs = book.launch([Subject.of(each) for each in planned], [], now, by_request=by_request)
    mirrors = {each.mirror.name: each.mirror for each in planned}
    failed = launch.launch(layout, opened.header.run_dir, runs, mirrors)
    for name, reason in failed.items():
        ending = Ending(LAUNCH_FAILED, reason, next_run_at=now + schedule.RECOVERY_DELAY)
        book.recover(Active(runs[name], name, LAUNCHING, now), ending, now)  # no effect once it has started
    return len(runs) - len(failed), len(failed)


def _record_waiting(
    layout: StateLayout,
    opened: Plan,
    book: Journal,
    waiting: list[str],
    next_runs: Mapping[str, float],
    known: Collection[str],
    now: float,
) -> bool:
    """Record the newly queued mirrors and times of next runs; return False if the rest was left to another tick.

    Mirrors that are not `known` are new in the journal.
    """

    def queue(names: list[str]) -> None:
        book.launch([], [Subject.of(each) for each in _planned(opened, names)], now)

    def schedule_next(names: list[str]) -> None:
        new = [Subject.of(each) for each in _planned(opened, [name for name in names if name not in known])]
        book.schedule({name: next_runs[name] for name in names}, new, now)

    return _in_parts(layout, waiting, queue) and _in_parts(layout, list(next_runs), schedule_next)


def _in_parts(layout: StateLayout, names: list[str], record: Callable[[list[str]], None]) -> bool:
    """Record something about mirrors; return False if the rest of them was left to another tick.

    Thousands take a while, in which runs end. The tick that such a run requests fills its slot, and records the rest.
    """
    if not names:
        return True
    from runner.subprocesses import launch  # loaded here, as above

    for first in range(0, len(names), AT_ONCE):
        if first and launch.is_tick_wanted(layout):
            return False
        record(names[first : first + AT_ONCE])
    return True


def _planned(opened: Plan, names: list[str]) -> list[Planned]:
    return [found for name in names if (found := opened.mirror(name)) is not None]
