"""Stop active runs: their supervisors, found by the locks that they hold, get a SIGTERM and do the rest.

Where runs are units and this program cannot see other processes, systemd stops them.
"""

import contextlib
import os
import signal
from collections.abc import Iterable

from runner.base import locks
from runner.base.output import log, note
from runner.base.state_dir import StateLayout
from runner.subprocesses import launch, units
from schemas.standard_streams import ERROR


def stop(layout: StateLayout, names: Iterable[str]) -> None:
    """Send a stop signal to the runs of these mirrors, without waiting; runs that have just ended are skipped."""
    for name in names:
        if _signal(layout, name) or _stop_unit(layout, name):
            note("stopping its run", about=name)


def _signal(layout: StateLayout, name: str) -> bool:
    """Signal the holders of the supervisor lock; return whether one was reached."""
    reached = False
    # By the lock and not by a recorded number: a number may belong to another process by now.
    for pid in locks.holders(layout.lock("supervisor", name)):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has just ended, or is another user's
            os.kill(pid, signal.SIGTERM)
            reached = True
    return reached


def _stop_unit(layout: StateLayout, name: str) -> bool:
    manager = launch.service_manager(layout)
    if manager is None or not locks.is_in_use(layout.lock("supervisor", name)):
        return False
    reason = units.stop(manager, name)
    if reason:
        log(f"cannot stop its run: {reason}", about=name, level=ERROR)
    return not reason
