"""`skipjack once`: follow, tick, wait for the runs, deliver; for cron lines, containers and a first try."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.courier import courier
from runner.follow.follow import follow
from runner.journal import journal
from runner.overrides import hold
from runner.plan import plan
from runner.plan.schedule import State
from runner.tick import tick
from schemas.errors import SkipjackError
from schemas.records import RunnerSettings
from schemas.standard_streams import ERROR, WARNING
from schemas.states import ACTIVE, QUEUED, SUCCESS
from schemas.units import format_duration

POLL = 0.2
"""Seconds between two looks at whether runs are still at work."""

_UNDER_WAY = ACTIVE | {QUEUED}


def once(settings: RunnerSettings, file: Path) -> int:
    """Do everything once and give the exit code: 1 when any part failed, though the others were done.

    `file` is where the settings come from.
    """
    layout = StateLayout(settings.state_dir)
    followed: list[bool] = []
    fine = _try(lambda: followed.append(report_follow(settings))) and followed[0]
    if not followed:
        _report_old_plan(layout)
    fine &= _try(lambda: _run_all_due(layout))
    if settings.manager is not None:
        fine &= _try(lambda: _deliver(settings, file))
    return 0 if fine else 1


def _report_old_plan(layout: StateLayout) -> None:
    """Say which plan the mirrors are synced by, since the newest one could not be had."""
    with contextlib.suppress(OSError, SkipjackError), plan.opened(layout.plan) as opened:
        age = format_duration(max(0.0, time.time() - os.stat(layout.plan).st_mtime))
        revision = (opened.header.revision or "none")[:12]
        log(f"the mirrors are synced by the plan in force, made {age} ago from revision {revision}", about="follow")


def report_follow(
    settings: RunnerSettings, *, again: bool = False, accept_rewrite: bool = False, quiet: bool = False
) -> bool:
    """Follow and tell the result (if `quiet`, only what is wrong or left to do).

    False when the newest revision has problems or could not be fetched.
    """
    done = follow(settings, again=again, accept_rewrite=accept_rewrite)
    for problem in done.problems:
        log(problem)
    for move in () if quiet and not done.changed else done.moves:
        log(f"note: {move}")
    if done.refused:
        log(f"the newest revision is refused; {done.revision[:12]} stays in force", about="follow", level=ERROR)
    elif not quiet:
        news = "is now in force" if done.changed else "is in force already"
        count = f"{done.mirrors} mirror{'' if done.mirrors == 1 else 's'}"
        log(f"revision {done.revision[:12]} {news}, with {count} for {settings.worker}", about="follow")
    if not done.fetched:
        what = f"the fetch failed, so the plan was rebuilt from revision {done.revision[:12]} of the checkout"
        log(what, about="follow", level=WARNING)
    return done.fetched and not done.problems


def _run_all_due(layout: StateLayout) -> bool:
    """Tick, and wait for the end of every run that is due now (not for what becomes due meanwhile)."""
    began = time.time()
    tick.tick(layout)
    if hold.holds(layout):
        log(hold.HELD, about="tick")
    with journal.opened(layout.journal) as book:
        waiting = {name for name, state in book.states().items() if state.status in _UNDER_WAY}
        fine = True
        while waiting:
            time.sleep(POLL)
            launched = tick.tick(layout)
            states = book.states()
            waiting &= states.keys()  # one that was renamed meanwhile has another name since its run has ended
            if not launched and not any(state.status in ACTIVE for state in states.values()):
                waiting = {name for name in waiting if _has_ended(states[name], began)}  # the others' hours are over
            for name in sorted(name for name in waiting if _has_ended(states[name], began)):
                waiting.remove(name)
                fine &= states[name].status == SUCCESS
                log(f"{states[name].status}{_reason(book, name)}", about=name)
    return fine


def _has_ended(state: State, began: float) -> bool:
    return state.status not in _UNDER_WAY or (state.last_ended_at is not None and state.last_ended_at >= began)


def _reason(book: journal.Journal, name: str) -> str:
    run = book.last_run(name)
    return f": {run.reason}" if run is not None and run.reason else ""


def _deliver(settings: RunnerSettings, file: Path) -> None:
    try:
        delivered = courier.once(settings, file, start=True)
    except courier.AnotherCourier:
        log("another courier is at work and delivers the reports", about="courier")
        return
    log(f"delivered {delivered} reports", about="courier")


def _try(part: Callable[[], object]) -> bool:
    """Do one part; the others are done even if it fails."""
    try:
        return part() is not False
    except SkipjackError as error:
        log(str(error), about="skipjack", level=ERROR)
        return False
