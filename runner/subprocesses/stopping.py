"""Telling runs under way to stop: their supervisors, found by the locks that they hold, get a TERM and do the rest.

Where runs are units and this program is kept from seeing others' processes, systemd tells them.
"""

import contextlib
import os
import signal
from collections.abc import Iterable

from runner.base import locks
from runner.base.output import log, note
from runner.base.state_dir import Places
from runner.subprocesses import units
from schemas.standard_streams import ERROR


def stop(places: Places, names: Iterable[str]) -> None:
    """Tell the runs of these mirrors to stop, without waiting for it; one that has just ended is none any more."""
    for name in names:
        if _signal(places, name) or _stop_unit(places, name):
            note("its run was told to stop", about=name)


def _signal(places: Places, name: str) -> bool:
    """Signal whoever holds the supervisor's lock; False when nobody was found, or may be signalled."""
    reached = False
    for pid in locks.holders(places.lock("supervisor", name)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
            reached = True
    return reached


def _stop_unit(places: Places, name: str) -> bool:
    manager = units.service_manager(places)
    if manager is None or not locks.is_in_use(places.lock("supervisor", name)):
        return False
    reason = units.stop(manager, name)
    if reason:
        log(f"its run cannot be told to stop: {reason}", about=name, level=ERROR)
    return not reason
