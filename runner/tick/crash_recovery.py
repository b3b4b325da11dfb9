"""Settling what died: runs whose process is gone without a last word, and providers that outlived their run."""

import contextlib
import os
import signal
import time
from collections.abc import Mapping

from runner.base import locks
from runner.base.output import log, note
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Active, Ending, Journal
from runner.plan import schedule
from runner.subprocesses import launch, units
from runner.subprocesses.spawn import GRACE
from schemas.standard_streams import ERROR, WARNING
from schemas.states import INTERRUPTED, LAUNCH_FAILED, LAUNCHING

LAUNCH_PATIENCE = 30.0
"""Seconds that a launched run may take to get hold of its lock before it counts as never started."""

SILENCE_PATIENCE = 600.0
"""Seconds for which a service manager may say nothing of a launched run's unit, as on a machine under heavy load."""


def settle(layout: StateLayout, book: Journal, now: float) -> None:
    """Give an end to every run that has no supervisor any more and whose provider is gone as well."""
    patience = SILENCE_PATIENCE if units.service_manager(layout) else LAUNCH_PATIENCE
    dead = [active for active in book.active() if not locks.is_in_use(layout.lock("supervisor", active.mirror))]
    outcomes = _outcomes(layout, dead)
    for active in dead:
        outcome = outcomes.get(active.mirror)
        if outcome is not None and outcome.is_of_before(active.launched_at):
            book.requeue(active, now)  # its unit was still busy with the run before, and never began this one
            continue
        ending = _ending(active, outcome, now, patience)
        if ending is None or _is_busy(layout, active.mirror):
            continue
        # Its locks may be free because it has just recorded its own end, or it may have come up in the last moment:
        # then this changes nothing.
        if book.settle(active, ending, now):
            what = f"{ending.status}: {ending.reason}"
            if ending.status == INTERRUPTED:
                note(what, about=active.mirror)  # as after each reboot
            else:
                log(what, about=active.mirror, level=ERROR)


def settle_unit(layout: StateLayout, name: str, now: float) -> None:
    """Give an end to what a mirror's unit left, after the last of its processes is gone; then a slot is free.

    A run that is launched and has not begun is left to the tick, which asks what became of the unit: it may have been
    announced after this unit's run. A container is no process of the unit, so it is ended first.
    """
    _end_container(layout, name)
    with journal.opened(layout.journal) as book:
        left = [active for active in book.active() if active.mirror == name and active.status != LAUNCHING]
        for active in left:
            if not locks.is_in_use(layout.lock("supervisor", name)) and not layout.has_container(name):
                book.settle(active, _last_word(active, "", now), now)
        only_requested = book.was_requested(name)
    launch.want_tick(layout, only_requested=only_requested)


def _end_container(layout: StateLayout, name: str) -> None:
    """End the container that a run has left; nothing when there is none, or its run is at work."""
    if layout.has_container(name):
        with locks.Held(layout.lock("supervisor", name)) as ours:
            if ours and not locks.holders(layout.lock("supervisor", name)):
                _end(layout, name)


def _end(layout: StateLayout, name: str) -> None:
    from runner.containers import podman  # few ticks have one to end

    podman.end(layout, name)


def _outcomes(layout: StateLayout, dead: list[Active]) -> Mapping[str, units.Outcome]:
    """What became of the units of runs that were launched and have not begun."""
    names = [active.mirror for active in dead if active.status == LAUNCHING]
    manager = units.service_manager(layout) if names else None
    return units.outcomes(manager, names) if manager else {}


def _ending(active: Active, outcome: units.Outcome | None, now: float, patience: float) -> Ending | None:
    """The end of a run without a supervisor, or None when it may still be about to begin."""
    if active.status != LAUNCHING or outcome is not None:
        pending = active.status == LAUNCHING and outcome is not None and outcome.pending
        return None if pending else _last_word(active, outcome.failure if outcome else "", now)
    if abs(now - active.launched_at) < patience:
        return None
    return _last_word(active, "the run's process never came up; see messages.log", now)


def _last_word(active: Active, failure: str, now: float) -> Ending:
    """How a run ended that could not say so itself; `failure` is for one that never began."""
    next_run_at = now + schedule.RECOVERY_DELAY
    if active.status == LAUNCHING:
        return Ending(LAUNCH_FAILED, failure, next_run_at=next_run_at)
    reason = "the run's process is gone without a last word: a crash, a kill or a reboot"
    return Ending(INTERRUPTED, reason, next_run_at=next_run_at)


def orphaned(layout: StateLayout, book: Journal) -> list[str]:
    """Mirrors whose provider is still at work although its run is gone."""
    names = {active.mirror for active in book.active()}.union(layout.containers_left())
    return [
        name
        for name in sorted(names)
        if not locks.is_in_use(layout.lock("supervisor", name)) and _is_busy(layout, name)
    ]


def _is_busy(layout: StateLayout, name: str) -> bool:
    """Whether a provider may be at work on a mirror's directory: processes that hold its lock, or a container."""
    return locks.is_in_use(layout.lock("mirror", name)) or layout.has_container(name)


def end_orphans(layout: StateLayout, names: list[str]) -> None:
    """End the processes that hold these mirrors' locks: TERM to their groups, a grace, KILL; then their containers.

    Whoever holds a mirror's lock while we hold its supervisor's got it from a run that is gone, so nobody else is hit.
    Containers come last, since what starts one might do so yet.
    """
    with contextlib.ExitStack() as stack:
        ours = [
            name
            for name in names
            if stack.enter_context(locks.Held(layout.lock("supervisor", name)))
            and not locks.holders(layout.lock("supervisor", name))  # of a deleted file: its run is at work
        ]
        held = {name: layout.lock("mirror", name) for name in ours if locks.is_in_use(layout.lock("mirror", name))}
        _end_holders(held)
        for name in ours:
            if layout.has_container(name):
                _end(layout, name)


def _end_holders(paths: Mapping[str, str]) -> None:
    for name, path in paths.items():
        note("ends the processes of a run that is gone", about=name)
        _signal_holders(path, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and any(locks.is_in_use(path) for path in paths.values()):
        time.sleep(0.05)
    for path in paths.values():
        while locks.is_in_use(path) and _signal_holders(path, signal.SIGKILL):
            time.sleep(0.05)
    for name, path in paths.items():
        if locks.is_in_use(path):
            from schemas.lock_holders import described

            what = f"its directory stays in use: {described(path)} holds {path} and cannot be ended by this user"
            log(f"{what}. End that process as its own user", about=name, level=WARNING)


def _signal_holders(path: str, number: int) -> bool:
    """Signal the groups of all holders; False when there is none that we may signal."""
    reached = False
    for pid in locks.holders(path):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            group = os.getpgid(pid)
            if group != os.getpgrp():
                os.killpg(group, number)
                reached = True
    return reached
