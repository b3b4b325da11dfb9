"""Measure the size on disk of mirrors for which neither rsync nor a `size_pattern` reports one.

A lean program of its own, which runs start when they end: a walk over millions of files must not occupy a slot.
"""

import os
import time
from functools import partial

from runner.base import contents, locks, start_requests
from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.error_boundary import guarded
from runner.journal import journal
from runner.plan import plan
from schemas import wakeup
from schemas.error_boundary import EXPECTED
from schemas.standard_streams import ERROR, WARNING


def measure(layout: StateLayout, name: str) -> int:
    """Measure one mirror and record its size; return the exit code. Does nothing if it is being measured already."""
    os.nice(19)  # the lowest priority: no visitor and no sync waits for a size
    with plan.opened(layout.plan) as opened:
        header, planned = opened.header, opened.mirror(name)
    with locks.Held(layout.lock("measure", name)) as ours:
        if not ours or planned is None:
            return 0
        began = time.monotonic()
        # The journal is closed during the walk, which can take hours, and opened again for the result.
        with journal.opened(layout.journal) as book:
            logged = book.logged_size(name)
        size = contents.count(planned.paths.directory).on_disk
        if not os.path.isdir(planned.paths.directory):  # if the disk is not mounted, the size is unknown and not 0
            log("cannot measure the size: the directory is missing", about=name, level=WARNING)
            return 0
        with journal.opened(layout.journal) as book:
            book.measured(name, size, time.time(), logged)
    wakeup.send(header.run_dir, wakeup.COURIER)
    log(f"measured {size} bytes in {time.monotonic() - began:.1f} s", about=name)
    return 0


def measure_wanted(layout: StateLayout) -> int:
    """Measure all requested mirrors, one after the other; return the exit code, 1 if one could not be measured.

    A request that cannot be removed, as on a read-only disk, ends this with 1: else its mirror would be measured
    without end. The service tries again after a pause.
    """
    worst = 0
    while names := start_requests.pending(layout, "measure"):
        for name in names:
            # Before the walk, so that a run that ends during it requests another one.
            request = f"measure/{name}"
            if not start_requests.take(layout, request) and os.path.lexists(layout.start_request(request)):
                what = f"cannot remove the request {layout.start_request(request)}"
                log(f"{what}. Check its owner, and whether the disk is read-only.", about=name, level=ERROR)
                return EXPECTED
            worst = max(worst, guarded(partial(measure, layout, name), layout.state_dir))
    return worst
