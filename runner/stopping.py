"""Telling runs under way to stop: their supervisors, found by the locks that they hold, get a TERM and do the rest."""

import contextlib
import os
import signal
from collections.abc import Iterable

from runner import locks
from runner.output import log
from runner.places import Places


def stop(places: Places, names: Iterable[str]) -> None:
    """Tell the runs of these mirrors to stop, without waiting for it; one that has just ended is none any more."""
    for name in names:
        for pid in locks.holders(places.lock("supervisor", name)):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)
                log("its run was told to stop", about=name)
