"""When a worker of tunasync counts as offline.

A Skipjack worker sends a heartbeat every few minutes. A worker of tunasync reports only the status of its jobs and when
the next ones are due, so its next report is expected when the first of these is.
"""

import math
from collections.abc import Iterable

from schemas.report import MirrorStatus
from schemas.states import ACTIVE, DISABLED, PAUSED
from sitegen.messages.model import TUNASYNC, Facts

NO_REPORT = 7 * 86400.0
"""Seconds without a report that are normal while a job is active, or when none is known to be due: a sync may take
days, in which the other jobs wait and nothing is reported."""

LATE = 3600.0
"""Seconds by which the first due job may start late. Its worker reports the start within seconds; this allows for
clocks that differ, a machine that was suspended, and a manager that was down when the report came."""

GRAIN = 900.0
"""Seconds to which the moment is rounded up, so that not every report changes the pages of all the worker's mirrors."""

LONGEST = 31 * 86400.0
"""Seconds after its last report when a worker is offline in any case: a clock that is ahead plans runs for years."""

_OFF = frozenset({PAUSED, DISABLED})


def silent_at(last_seen: float, silent_after: float, statuses: Iterable[MirrorStatus]) -> float:
    """Return from when a worker of tunasync is offline (Unix seconds), by when it was last seen and its jobs' statuses.

    That is never before `silent_after` seconds without a report. A job that was due before the worker was last seen
    does not count: it waits, or was taken off the schedule.
    """
    jobs = [status for status in statuses if status.status not in _OFF]
    due = [status.next_run_at for status in jobs if status.next_run_at is not None and status.next_run_at > last_seen]
    is_at_rest = not any(status.status in ACTIVE for status in jobs)
    expected = min(due) + LATE if due and is_at_rest else last_seen + NO_REPORT
    expected = min(expected, last_seen + LONGEST)
    return math.ceil(max(expected, last_seen + silent_after) / GRAIN) * GRAIN


def of_tunasync(facts: Facts) -> dict[str, list[MirrorStatus]]:
    """Return the statuses of each tunasync worker's jobs."""
    found: dict[str, list[MirrorStatus]] = {state.name: [] for state in facts.workers if state.journal == TUNASYNC}
    if found:
        for (worker, _name), status in facts.statuses.items():
            if worker in found:
                found[worker].append(status)
    return found
