"""When a worker of tunasync counts as silent.

One of ours tells every few minutes that it is alive. One of tunasync tells only what its jobs do and when the next ones
are due, so its next word is expected when the first of these is.
"""

import math
from collections.abc import Iterable

from schemas.report import MirrorStatus
from schemas.states import ACTIVE, DISABLED, PAUSED
from sitegen.messages.model import TUNASYNC, Facts

NO_WORD = 7 * 86400.0
"""Seconds after its last word for which nothing need be heard while a job is under way or none is known to be due: a
sync may take days, in which it keeps the others waiting and tells nothing."""

LATE = 3600.0
"""Seconds by which the first due job may be late to begin. Its worker says so within seconds; this is for clocks that
disagree, a machine that was asleep, and a manager that was away when it was said."""

GRAIN = 900.0
"""Seconds to which the moment is rounded up, so that not every word of a worker alters the pages of all its mirrors."""

LONGEST = 31 * 86400.0
"""Seconds after its last word for which it may be quiet at most: a clock that is ahead plans runs for years to come."""

_HELD = frozenset({PAUSED, DISABLED})


def silent_at(last_seen: float, silent_after: float, statuses: Iterable[MirrorStatus]) -> float:
    """From when a worker of tunasync is silent (Unix seconds), by when it was last heard of and what it said of its
    jobs; not before it was quiet for the `silent_after` seconds of its definition.

    A job that was due before the worker was last heard of tells nothing: it waits, or was taken off the schedule.
    """
    told = [status for status in statuses if status.status not in _HELD]
    due = [status.next_run_at for status in told if status.next_run_at is not None and status.next_run_at > last_seen]
    is_at_rest = not any(status.status in ACTIVE for status in told)
    expected = min(due) + LATE if due and is_at_rest else last_seen + NO_WORD
    expected = min(expected, last_seen + LONGEST)
    return math.ceil(max(expected, last_seen + silent_after) / GRAIN) * GRAIN


def of_tunasync(facts: Facts) -> dict[str, list[MirrorStatus]]:
    """What each worker of tunasync said of its jobs."""
    found: dict[str, list[MirrorStatus]] = {state.name: [] for state in facts.workers if state.journal == TUNASYNC}
    if found:
        for (worker, _name), status in facts.statuses.items():
            if worker in found:
                found[worker].append(status)
    return found
