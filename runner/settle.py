"""Settling what died: runs whose process is gone without a last word, and providers that outlived their run."""

import contextlib
import os
import signal
import time
from collections.abc import Mapping

from runner import locks, schedule
from runner.journal import Active, Ending, Journal
from runner.output import log
from runner.places import Places
from runner.process import GRACE
from schemas.states import INTERRUPTED, LAUNCH_FAILED, LAUNCHING

LAUNCH_PATIENCE = 30.0
"""Seconds that a launched run may take to get hold of its lock before it counts as never started."""


def settle(places: Places, book: Journal, now: float) -> None:
    """Give an end to every run that has no supervisor any more and whose provider is gone as well."""
    for active in book.active():
        ending = _ending(places, active, now)
        if ending is None or locks.is_held(places.lock("mirror", active.mirror)):
            continue
        # Its locks may be free because it has just recorded its own end, or it may have come up in the last moment:
        # then this changes nothing.
        if book.settle(active, ending, now):
            log(f"{ending.status}: {ending.reason}", about=active.mirror)


def _ending(places: Places, active: Active, now: float) -> Ending | None:
    if locks.is_held(places.lock("supervisor", active.mirror)):
        return None
    next_run_at = now + schedule.RECOVERY_DELAY
    if active.status != LAUNCHING:
        reason = "the run's process is gone without a last word: a crash, a kill or a reboot"
        return Ending(INTERRUPTED, reason, next_run_at=next_run_at)
    if abs(now - active.launched_at) < LAUNCH_PATIENCE:
        return None
    return Ending(LAUNCH_FAILED, "the run's process never came up; see messages.log", next_run_at=next_run_at)


def orphaned(places: Places, book: Journal) -> list[str]:
    """Mirrors whose provider is still at work although its run is gone."""
    return [
        active.mirror
        for active in book.active()
        if not locks.is_held(places.lock("supervisor", active.mirror))
        and locks.is_held(places.lock("mirror", active.mirror))
    ]


def end_orphans(places: Places, names: list[str]) -> None:
    """End the processes that hold these mirrors' locks: TERM to their groups, a grace, KILL.

    Whoever holds a mirror's lock while we hold its supervisor's got it from a run that is gone, so nobody else is hit.
    """
    with contextlib.ExitStack() as stack:
        ours = [name for name in names if stack.enter_context(locks.Held(places.lock("supervisor", name)))]
        _end_holders({name: places.lock("mirror", name) for name in ours})


def _end_holders(paths: Mapping[str, str]) -> None:
    for name, path in paths.items():
        log("ends the processes of a run that is gone", about=name)
        _signal_holders(path, signal.SIGTERM)
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline and any(locks.is_held(path) for path in paths.values()):
        time.sleep(0.05)
    for path in paths.values():
        while locks.is_held(path) and _signal_holders(path, signal.SIGKILL):
            time.sleep(0.05)


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
