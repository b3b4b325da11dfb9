"""`skipjack once`: follow, tick, wait for the runs, deliver reports; for cron, containers and a first try."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.drift import counting
from runner.follow.follow import follow
from runner.journal import journal
from runner.overrides import hold
from runner.plan import plan
from runner.plan.schedule import State
from runner.tick import tick
from schemas.errors import SkipjackError
from schemas.records import RunnerSettings
from schemas.standard_streams import ERROR, INFO, WARNING
from schemas.states import ACTIVE, QUEUED, STOPPED, SUCCESS
from schemas.units import format_duration

POLL = 0.2
"""Seconds between two checks whether runs are still active."""

_UNFINISHED = ACTIVE | {QUEUED}


def once(settings: RunnerSettings, file: Path) -> int:
    """Do every part once and return the exit code: 1 when a part failed; the others are done all the same.

    `file` is the path of the settings.
    """
    layout = StateLayout(settings.state_dir)
    followed: list[bool] = []
    fine = _try(lambda: followed.append(report_follow(settings))) and followed[0]
    if not followed:
        _log_plan_in_force(layout)
    fine &= _try(lambda: _run_all_due(layout))
    if settings.manager is not None:
        fine &= _try(lambda: _deliver(settings, file))
    return 0 if fine else 1


def _log_plan_in_force(layout: StateLayout) -> None:
    """Log which plan is used after a failed follow."""
    with contextlib.suppress(OSError, SkipjackError), plan.opened(layout.plan) as opened:
        age = format_duration(max(0.0, time.time() - os.stat(layout.plan).st_mtime))
        revision = (opened.header.revision or "none")[:12]
        log(f"the plan in force stays in use, made {age} ago from revision {revision}", about="follow")


def report_follow(
    settings: RunnerSettings,
    *,
    again: bool = False,
    accept_rewrite: bool = False,
    offline: bool = False,
    quiet: bool = False,
) -> bool:
    """Follow and log the result; with `quiet`, only problems and open tasks.

    Return False when the newest revision has problems or could not be fetched.
    """
    done = follow(settings, again=again, accept_rewrite=accept_rewrite, offline=offline)
    counting.count(settings)
    for problem in done.problems:
        log(problem, about="follow", level=ERROR if done.refused else WARNING)
    for move in () if quiet and not done.changed else done.moves:
        log(move, about="follow")
    if done.refused:
        which = "pinned" if done.pin else "newest"
        log(f"the {which} revision is rejected; {done.revision[:12]} stays in force", about="follow", level=ERROR)
    elif not quiet:
        news = "is now in force" if done.changed else "is in force already"
        count = f"{done.mirrors} mirror{'' if done.mirrors == 1 else 's'}"
        log(f"revision {done.revision[:12]} {news}, with {count} for {settings.worker}", about="follow")
        if done.pin:
            log(done.pin, about="follow")
    if not done.fetched:
        what = f"the fetch failed, so the plan was rebuilt from revision {done.revision[:12]} of the checkout"
        log(what, about="follow", level=WARNING)
    return done.fetched and not done.problems


def _run_all_due(layout: StateLayout) -> bool:
    """Tick, and wait until every mirror that is due now has run; later ones are not waited for."""
    began = time.time()
    tick.tick(layout)
    if hold.holds(layout):
        log(hold.HELD, about="tick")
    with journal.opened(layout.journal) as book:
        states = book.states()
        waiting = {name for name, state in states.items() if state.status in _UNFINISHED}
        fine = True
        while waiting:
            time.sleep(POLL)
            before, started = states, tick.tick(layout).started
            states = book.states()
            waiting &= states.keys()  # a mirror that was renamed meanwhile: its run has ended
            # If anything has changed, a run may have ended after the tick had found no free slot.
            if not started and states == before and not any(state.status in ACTIVE for state in states.values()):
                # The sync windows of the others are over.
                waiting = {name for name in waiting if _has_ended(states[name], began)}
            for name in sorted(name for name in waiting if _has_ended(states[name], began)):
                waiting.remove(name)
                fine &= states[name].status == SUCCESS
                level = INFO if states[name].status in (SUCCESS, STOPPED) else ERROR
                log(f"{states[name].status}{_reason(book, name)}", about=name, level=level)
    return fine


def _has_ended(state: State, began: float) -> bool:
    return state.status not in _UNFINISHED or (state.last_ended_at is not None and state.last_ended_at >= began)


def _reason(book: journal.Journal, name: str) -> str:
    run = book.last_run(name)
    return f": {run.reason}" if run is not None and run.reason else ""


def _deliver(settings: RunnerSettings, file: Path) -> None:
    from runner.courier import courier  # with requests it takes longer to load than all else; `follow` does without

    try:
        delivered = courier.once(settings, file, start=True)
    except courier.AnotherCourier:
        log("another courier is running and delivers the reports", about="courier")
        return
    log(f"delivered {delivered} reports", about="courier")


def _try(part: Callable[[], object]) -> bool:
    """Do one part and return whether it succeeded; an expected failure is logged, so that the others are done."""
    try:
        return part() is not False
    except SkipjackError as error:
        log(str(error), about="skipjack", level=ERROR)
        return False
