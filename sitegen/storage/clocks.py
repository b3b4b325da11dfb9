"""Workers' times beside the manager's clock: what has happened cannot lie in the future.

A worker whose clock is ahead would have its mirrors fresh until that future has come. That it was ahead is kept, since
a clock that is right again leaves no other trace.
"""

import math
from typing import Any, TypeVar

from schemas.report import Envelope, MirrorStatus, Override, Probe, Progress, Report, Run

SLACK = 600.0
"""Seconds by which a worker's clock may be ahead before its times are not believed: less is shown on the workers' page
and makes no verdict wrong by more."""

_RUN = ("launched_at", "started_at", "ended_at")
_STATUS = ("last_started_at", "last_ended_at", "last_success_at")
_PROBE = ("at", "even_at", "seen_at")
"""The times by the worker's clock; the others of a probe stand in files of the upstream."""

_Record = TypeVar("_Record", MirrorStatus, Run, Probe, Override, Progress)


class Receipt:
    """Limits the times of an envelope to when it was received (Unix seconds, manager's clock; infinite: to nothing)."""

    def __init__(self, received_at: float) -> None:
        self._at = received_at
        self._ahead = 0.0

    def skew(self, envelope: Envelope) -> float:
        """Seconds by which the worker's clock is ahead, or was at any of the times that were limited; negative when it
        is behind, 0 when its times are believed."""
        skew = envelope.sent_at - self._at
        if self._ahead or skew > SLACK:
            return max(skew, self._ahead)
        return skew if skew < -SLACK else 0.0

    def progress(self, told: tuple[Progress, ...]) -> tuple[Progress, ...]:
        """How far runs are, at no moment that is still to come."""
        return tuple([self._limited(each, ("at",)) for each in told]) if told else told

    def status(self, report: Report, told: MirrorStatus) -> MirrorStatus:
        """A status of a report in which nothing happened after it was received."""
        if self._at == math.inf:
            return told
        status = self._limited(told, _STATUS)
        changed: dict[str, Any] = {}
        for name, names in (("override", ("since",)), ("run", _RUN), ("probe", _PROBE)):
            part = getattr(status, name)
            if part is not None and (limited := self._limited(part, names)) is not part:
                changed[name] = limited
        ahead = report.made_at - self._at
        if ahead > SLACK:
            self._ahead = max(self._ahead, ahead)
            if status.next_run_at is not None:  # as far from when it was planned as the worker meant it
                changed["next_run_at"] = status.next_run_at - ahead
        return status._replace(**changed) if changed else status

    def run(self, run: Run) -> Run:
        """A run in which nothing happened after it was received."""
        return self._limited(run, _RUN)

    def _limited(self, record: _Record, names: tuple[str, ...]) -> _Record:
        found: dict[str, Any] = {}
        for name in names:
            at = getattr(record, name)
            if at is not None and at > self._at + SLACK:
                found[name] = self._at
                self._ahead = max(self._ahead, at - self._at)
        return record._replace(**found) if found else record
