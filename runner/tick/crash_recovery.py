"""Recovery after a crash: end the runs whose process died, and the providers that outlived their run.

The locks show who is alive. The run holds the *supervisor* lock, its provider's processes inherit the *mirror* lock:
supervisor free and mirror held is an orphan; both free is a run that the journal still has to end.
"""

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from runner.base import locks
from runner.base.output import log, note
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Active, Ending, Journal
from runner.plan import schedule
from schemas.standard_streams import ERROR, WARNING
from schemas.states import INTERRUPTED, LAUNCH_FAILED, LAUNCHING

if TYPE_CHECKING:  # few ticks have anything to recover
    from runner.subprocesses.units import UnitOutcome

LAUNCH_TIMEOUT = 30.0
"""Seconds that a launched run may take to lock its supervisor lock before it counts as never started."""

UNIT_TIMEOUT = 600.0
"""Seconds for which systemd may not know the unit of a launched run, as on a machine under heavy load."""


def recover_runs(layout: StateLayout, book: Journal, now: float) -> None:
    """Record the end of every run whose supervisor and provider are both gone."""
    # `is_in_use`, since a run whose lock file was deleted is alive.
    dead = [active for active in book.active() if not locks.is_in_use(layout.lock("supervisor", active.mirror))]
    if dead:
        _recover(layout, book, dead, now)


def _recover(layout: StateLayout, book: Journal, dead: list[Active], now: float) -> None:
    from runner.subprocesses import launch, units

    manager = launch.service_manager(layout)
    timeout = UNIT_TIMEOUT if manager else LAUNCH_TIMEOUT
    # What systemd knows of the units of launched runs that have not started.
    launching = [active.mirror for active in dead if active.status == LAUNCHING]
    outcomes = units.outcomes(manager, launching) if manager and launching else {}
    for active in dead:
        outcome = outcomes.get(active.mirror)
        if outcome is not None and outcome.is_of_before(active.launched_at):
            book.requeue(active, now)  # its unit was still busy with the previous run, and never started this one
            continue
        ending = _ending(active, outcome, now, timeout)
        if ending is None or _is_busy(layout, active.mirror):
            continue
        # Its locks may also be free because it has just recorded its own end, or it may have started just now: then
        # this changes nothing.
        if book.recover(active, ending, now):
            _remove_copies(layout, active.mirror)
            what = f"{ending.status}: {ending.reason}"
            if ending.status == INTERRUPTED:
                note(what, about=active.mirror)  # as after each reboot
            else:
                log(what, about=active.mirror, level=ERROR)


def recover_unit(layout: StateLayout, name: str, now: float) -> None:
    """Record the end of the run that a mirror's unit left behind, and wake a tick, since a slot is free now.

    systemd starts this after the last process of the unit is gone. A container is not a process of the unit, so it is
    ended first. A launched run that has not started is left to the tick, which asks systemd about the unit: it may have
    been launched after this unit's run.
    """
    _end_container(layout, name)
    with journal.opened(layout.journal) as book:
        left = [active for active in book.active() if active.mirror == name and active.status != LAUNCHING]
        for active in left:
            busy = locks.is_in_use(layout.lock("supervisor", name)) or layout.has_container(name)
            if not busy and book.recover(active, _end_of_crashed(active, "", now), now):
                _remove_copies(layout, name)
        only_requested = book.was_requested(name)
    from runner.subprocesses import launch

    launch.want_tick(layout, only_requested=only_requested)


def _remove_copies(layout: StateLayout, name: str) -> None:
    """Remove the copies of pattern files that a killed run left behind, unless the mirror runs again."""
    folder = layout.pattern_copies(name)
    if os.path.exists(folder):
        from runner.base import pattern_copies  # loaded here, since few mirrors have pattern files

        with locks.Held(layout.lock("supervisor", name)) as acquired:
            if acquired and not locks.holders(layout.lock("supervisor", name)):
                pattern_copies.clear(folder)


def _end_container(layout: StateLayout, name: str) -> None:
    """End the container that a killed run left behind, if there is one."""
    if layout.has_container(name):
        with locks.Held(layout.lock("supervisor", name)) as acquired:
            # a run whose lock file was deleted still holds the deleted one
            if acquired and not locks.holders(layout.lock("supervisor", name)):
                _end_podman(layout, name)


def _end_podman(layout: StateLayout, name: str) -> None:
    from runner.containers import podman  # loaded here, since few ticks have a container to end

    podman.end(layout, name)


def _ending(active: Active, outcome: "UnitOutcome | None", now: float, timeout: float) -> Ending | None:
    """Return the end of a run without a supervisor, or None when it may still be starting."""
    if active.status != LAUNCHING or outcome is not None:
        pending = active.status == LAUNCHING and outcome is not None and outcome.pending
        return None if pending else _end_of_crashed(active, outcome.failure if outcome else "", now)
    # abs, since after a clock was set back the launch may lie in the future.
    if abs(now - active.launched_at) < timeout:
        return None
    return _end_of_crashed(active, "the run's process never started; see messages.log", now)


def _end_of_crashed(active: Active, failure: str, now: float) -> Ending:
    """Return how a run ended whose process died; `failure` is the reason for one that never started."""
    next_run_at = now + schedule.RECOVERY_DELAY
    if active.status == LAUNCHING:
        return Ending(LAUNCH_FAILED, failure, next_run_at=next_run_at)
    reason = "the run's process died (crash, kill or reboot)"
    return Ending(INTERRUPTED, reason, next_run_at=next_run_at, died=True)


def mirrors_with_orphans(layout: StateLayout, book: Journal) -> list[str]:
    """Return the mirrors whose provider is still running although its run is gone."""
    names = {active.mirror for active in book.active()}.union(layout.containers_left())
    return [
        name
        for name in sorted(names)
        if not locks.is_in_use(layout.lock("supervisor", name)) and _is_busy(layout, name)
    ]


def _is_busy(layout: StateLayout, name: str) -> bool:
    """Return whether a provider may be using a mirror's directory: processes that hold its lock, or a container."""
    return locks.is_in_use(layout.lock("mirror", name)) or layout.has_container(name)


def end_orphans(layout: StateLayout, names: list[str]) -> None:
    """End the processes that hold these mirrors' locks: SIGTERM to their groups, SIGKILL after a grace period.

    Their supervisor locks are taken first: who holds a mirror lock then has inherited it from a killed run, so no other
    process is signalled. Containers are ended last, since a process could still have started one.
    """
    with contextlib.ExitStack() as stack:
        dead = [
            name
            for name in names
            if stack.enter_context(locks.Held(layout.lock("supervisor", name)))
            and not locks.holders(layout.lock("supervisor", name))  # a run whose lock file was deleted is alive
        ]
        held = {name: layout.lock("mirror", name) for name in dead if locks.is_in_use(layout.lock("mirror", name))}
        _end_holders(held)
        for name in dead:
            if layout.has_container(name):
                _end_podman(layout, name)


def _end_holders(paths: Mapping[str, str]) -> None:
    for name, path in paths.items():
        note("ending the processes that a killed run left behind", about=name)
        _signal_holders(path, signal.SIGTERM)
    from runner.subprocesses.spawn import GRACE

    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and any(locks.is_in_use(path) for path in paths.values()):
        time.sleep(0.05)
    for path in paths.values():
        # Repeated, since a process may start another one before the signal reaches it.
        while locks.is_in_use(path) and _signal_holders(path, signal.SIGKILL):
            time.sleep(0.05)
    for name, path in paths.items():
        if locks.is_in_use(path):
            from schemas.lock_holders import described

            what = f"its directory is still in use: {described(path)} holds {path}, and this user may not end it"
            log(f"{what}. End it as its own user", about=name, level=WARNING)


def _signal_holders(path: str, number: int) -> bool:
    """Signal the process groups of all holders of a lock; False when this user may signal none of them."""
    reached = False
    for pid in locks.holders(path):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has just ended, or is another user's
            group = os.getpgid(pid)
            if group != os.getpgrp():  # a tick must never signal its own group
                os.killpg(group, number)
                reached = True
    return reached
