"""Workers' times beside the manager's clock: what has happened cannot lie in the future.

A worker whose clock is ahead would have its mirrors fresh until that future has come.
"""

from typing import Any, TypeVar

from schemas.report import MirrorStatus, Run

SLACK = 600.0
"""Seconds by which a worker's clock may be ahead before its times are not believed: less is shown on the workers' page
and makes no verdict wrong by more."""

_RUN = ("launched_at", "started_at", "ended_at")
_STATUS = ("last_started_at", "last_ended_at", "last_success_at")

_Record = TypeVar("_Record", MirrorStatus, Run)


def status_as_of(status: MirrorStatus, received_at: float) -> MirrorStatus:
    """A status in which nothing happened after it was received (Unix seconds, manager's clock)."""
    known = _limited(status, _STATUS, received_at)
    if status.override is not None and (status.override.since or 0) > received_at + SLACK:
        known = known._replace(override=status.override._replace(since=received_at))
    if status.run is not None and (run := run_as_of(status.run, received_at)) is not status.run:
        known = known._replace(run=run)
    return known


def run_as_of(run: Run, received_at: float) -> Run:
    """A run in which nothing happened after it was received (Unix seconds, manager's clock)."""
    return _limited(run, _RUN, received_at)


def _limited(record: _Record, names: tuple[str, ...], latest: float) -> _Record:
    found: dict[str, Any] = {}
    for name in names:
        at = getattr(record, name)
        if at is not None and at > latest + SLACK:
            found[name] = latest
    return record._replace(**found) if found else record
