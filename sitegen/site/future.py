"""Removes stored times in the future, so that no verdict depends on them.

Times are limited to the manager's clock on receipt. One in the future therefore comes from the database of an older
release, or the manager's own clock was set back. The real time is unknown, so it is left out. Times
are Unix seconds.
"""

from collections.abc import Iterator
from typing import NamedTuple

from schemas.clock.freshness import SLACK
from schemas.report import MirrorStatus, Probe, Run
from sitegen.messages.model import WorkerState


class Believed(NamedTuple):
    """A status without times in the future, and when (Unix seconds) the first of those left out will be in the past."""

    status: MirrorStatus
    changes_at: float | None


def believed(status: MirrorStatus, now: float) -> Believed:
    """Remove times after `now`, and a next run that was planned from one of them."""
    ahead = [at for at in _times(status) if at is not None and at > now + SLACK]
    if not ahead:
        return Believed(status, None)
    planned = status.next_run_at
    found = status._replace(
        last_started_at=_past(status.last_started_at, now),
        last_ended_at=_past(status.last_ended_at, now),
        last_success_at=_past(status.last_success_at, now),
        next_run_at=None if planned is not None and planned > min(ahead) else planned,
        run=without(status.run, now) if status.run else None,
        probe=None if status.probe and _latest(status.probe) > now + SLACK else status.probe,
        override=status.override._replace(since=_past(status.override.since, now)) if status.override else None,
    )
    return Believed(found, min(ahead) - SLACK)


def without(run: Run, now: float) -> Run:
    """Return a run without times in the future."""
    times = run.launched_at, run.started_at, run.ended_at
    past = [_past(at, now) for at in times]
    return run if past == [*times] else run._replace(launched_at=past[0], started_at=past[1], ended_at=past[2])


def last_seen_in_past(state: WorkerState, now: float) -> WorkerState:
    """Return a worker that was not last seen in the future.

    Such a time is replaced by when the worker sent its last report, else by when it was first seen, else by 0.
    """
    if state.last_seen <= now + SLACK:
        return state
    sent, first = (at if at <= now + SLACK else 0.0 for at in (state.sent_at, state.first_seen))
    return state._replace(first_seen=first, last_seen=sent or first, sent_at=sent or first)


def _times(status: MirrorStatus) -> Iterator[float | None]:
    yield from (status.last_started_at, status.last_ended_at, status.last_success_at)
    if status.run:
        yield from (status.run.launched_at, status.run.started_at, status.run.ended_at)
    if status.probe:
        yield _latest(status.probe)
    if status.override:
        yield status.override.since


def _latest(probe: Probe) -> float:
    return max(probe.at, probe.even_at or 0.0, probe.seen_at or 0.0)


def _past(at: float | None, now: float) -> float | None:
    return None if at is not None and at > now + SLACK else at
