"""Workers' times beside the manager's clock: what has happened cannot lie in the future.

A worker whose clock is ahead would have its mirrors fresh until that future has come. That it was ahead is kept, since
a clock that is right again leaves no other trace. So is what each time was limited to: a worker reports the same last
success again and again, and each report would move it on.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from schemas.clock.freshness import SLACK
from schemas.report import STATUS_BOUNDS, Envelope, MirrorStatus, Override, Probe, Report, Run, RunProgress, bounded

_RUN = ("launched_at", "started_at", "ended_at")
_STATUS = ("last_started_at", "last_ended_at", "last_success_at")
_PROBE = ("at", "even_at", "seen_at")
"""The times by the worker's clock; the others of a probe stand in files of the upstream."""

_Record = TypeVar("_Record", MirrorStatus, Run, Probe, Override, RunProgress)

TimeKey = tuple[str, str, str]
"""Worker, mirror, and which time of the mirror's status."""

RunKey = tuple[str, str, int]
"""Worker, journal, and number of the run."""


class Limited(NamedTuple):
    """A time as it was reported, and what it was limited to."""

    told: float
    at: float


class Earlier(NamedTuple):
    """What is kept of times that lay in the future when they were received. The times of a run that is stored are
    never reported otherwise, so they are enough for a run."""

    times: dict[TimeKey, Limited]
    runs: dict[RunKey, Run]


class Receipt:
    """Limits the times of an envelope to when it was received (Unix seconds, manager's clock; infinite: to nothing).

    `sent_at` is when it was sent by the worker's clock. `earlier` is what was limited before; `limited` becomes what
    was limited now.
    """

    def __init__(self, received_at: float, sent_at: float, worker: str, journal: str, earlier: Earlier) -> None:
        self._at = received_at
        self._behind = max(0.0, received_at - sent_at)
        self._ahead = 0.0
        self._worker = worker
        self._journal = journal
        self._earlier = earlier
        self.limited: dict[TimeKey, Limited] = {}

    def skew(self, envelope: Envelope) -> float:
        """Seconds by which the worker's clock is ahead, or was at any of the times that were limited; negative when it
        is behind, 0 when its times are believed."""
        skew = envelope.sent_at - self._at
        if self._ahead or skew > SLACK:
            return max(skew, self._ahead)
        return skew if skew < -SLACK else 0.0

    def progress(self, told: tuple[RunProgress, ...]) -> tuple[RunProgress, ...]:
        """How far runs are, at no moment that is still to come."""
        return tuple([self._limit(each, ("at",), _never) for each in told]) if told else told

    def status(self, report: Report, told: MirrorStatus) -> MirrorStatus:
        """A status of a report in which nothing happened after it was received."""
        if self._at == math.inf:
            return told
        status = self._limit(told, _STATUS, self._before(told.mirror, ""))
        changed: dict[str, Any] = {}
        for name, names in (("override", ("since",)), ("probe", _PROBE)):
            part = getattr(status, name)
            if part is None:
                continue
            if (limited := self._limit(part, names, self._before(told.mirror, f"{name}."))) is not part:
                changed[name] = limited
        if status.run is not None and (run := self.run(status.run)) is not status.run:
            changed["run"] = run
        ahead = report.made_at - self._at
        if ahead > SLACK:
            self._ahead = max(self._ahead, ahead)
        planned = self._planned(report, told)
        if planned != told.next_run_at:
            changed["next_run_at"] = planned
        return status._replace(**changed) if changed else status

    def _planned(self, report: Report, told: MirrorStatus) -> float | None:
        """When the next run is due, as far from when it was planned as the worker meant it.

        None when it was planned from a time that lies in the future by the clock of the report, too: of a clock that
        was set right in between.
        """
        planned = told.next_run_at
        if planned is None:
            return None
        latest = max(self._at, report.made_at) + SLACK
        wrong = [at for at in _times(told) if at is not None and at > latest]
        if wrong and planned > min(wrong):
            return None
        ahead = report.made_at - self._at
        if ahead > SLACK:
            planned -= ahead
        elif self._behind > SLACK:
            planned += self._behind
        return float(bounded({"next_run_at": planned}, STATUS_BOUNDS)["next_run_at"])

    def run(self, run: Run) -> Run:
        """A run in which nothing happened after it was received."""
        key = self._worker, self._journal, run.id
        known = self._earlier.runs.get(key)
        limited = self._limit(run, _RUN, lambda name, _told: getattr(known, name, None))
        if limited is not run:
            self._earlier.runs[key] = limited
        return limited

    def _before(self, mirror: str, prefix: str) -> Callable[[str, float], float | None]:
        """What the same time was limited to, if it was reported before; what is asked for counts as limited now."""

        def find(name: str, told: float) -> float:
            key = self._worker, mirror, prefix + name
            known = self._earlier.times.get(key)
            if known is not None and known.told == told:
                return known.at
            self._earlier.times[key] = self.limited[key] = Limited(told, self._at)
            return self._at

        return find

    def _limit(self, record: _Record, names: tuple[str, ...], before: Callable[[str, float], float | None]) -> _Record:
        found: dict[str, Any] = {}
        for name in names:
            told = getattr(record, name)
            if told is None or told <= self._at + SLACK:
                continue
            known = before(name, told)
            found[name] = self._at if known is None else min(known, self._at)
            if found[name] == self._at:  # an earlier receipt has noted how far the clock was ahead
                self._ahead = max(self._ahead, told - self._at)
        return record._replace(**found) if found else record


def is_ahead(envelope: Envelope, received_at: float) -> bool:
    """Whether any time of what an envelope reports lies in the future."""
    latest = received_at + SLACK
    return any(
        at is not None and at > latest
        for report in envelope.reports
        for at in (
            *(at for status in report.statuses for at in _times(status)),
            *(at for _mirror, run in report.runs for at in (run.launched_at, run.started_at, run.ended_at)),
        )
    )


def _times(status: MirrorStatus) -> tuple[float | None, ...]:
    run, probe, override = status.run, status.probe, status.override
    return (
        status.last_started_at,
        status.last_ended_at,
        status.last_success_at,
        *((run.launched_at, run.started_at, run.ended_at) if run else ()),
        *((probe.at, probe.even_at, probe.seen_at) if probe else ()),
        override.since if override else None,
    )


def _never(_name: str, _told: float) -> None:
    """For what is not kept."""
