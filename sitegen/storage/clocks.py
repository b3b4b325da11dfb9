"""Limits workers' times to the manager's clock: past events cannot be in the future.

Otherwise a worker whose clock is ahead would keep its mirrors fresh for too long. That its clock was ahead is stored,
since a corrected clock leaves no other trace. What each time was limited to is stored as well: a worker reports the
same last success repeatedly, and each report would move it.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from schemas.clock.freshness import SLACK
from schemas.report import STATUS_BOUNDS, Envelope, MirrorStatus, Override, Probe, Report, Run, RunProgress, bounded

_RUN = ("launched_at", "started_at", "ended_at")
_STATUS = ("last_started_at", "last_ended_at", "last_success_at")
_PROBE = ("at", "even_at", "seen_at")
"""The times by the worker's clock. A probe's other times are from files of the upstream."""

_Record = TypeVar("_Record", MirrorStatus, Run, Probe, Override, RunProgress)

TimeKey = tuple[str, str, str]
"""Worker, mirror, and which time of the mirror's status."""

RunKey = tuple[str, str, int]
"""Worker, journal, and number of the run."""


class Limited(NamedTuple):
    """A time as reported, and what it was limited to."""

    told: float
    at: float


class Earlier(NamedTuple):
    """The stored limits of times that were in the future on receipt.

    A stored run's times never change in later reports, so the run itself holds its limits.
    """

    times: dict[TimeKey, Limited]
    runs: dict[RunKey, Run]


class Receipt:
    """Limits the times of an envelope to when it was received (Unix seconds, manager's clock; infinite: no limit).

    `sent_at` is when it was sent, by the worker's clock. `earlier` has the limits from before, `limited` those of now.
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
        """Return by how many seconds the worker's clock is ahead, or was at any limited time; negative if it is behind,
        0 if the difference is within SLACK."""
        skew = envelope.sent_at - self._at
        if self._ahead or skew > SLACK:
            return max(skew, self._ahead)
        return skew if skew < -SLACK else 0.0

    def progress(self, reported: tuple[RunProgress, ...]) -> tuple[RunProgress, ...]:
        """Return the progress of runs, with its time limited."""
        return tuple([self._limit(each, ("at",), _never) for each in reported]) if reported else reported

    def status(self, report: Report, reported: MirrorStatus) -> MirrorStatus:
        """Return a status of a report, with its times limited."""
        if self._at == math.inf:
            return reported
        status = self._limit(reported, _STATUS, self._before(reported.mirror, ""))
        changed: dict[str, Any] = {}
        for name, names in (("override", ("since",)), ("probe", _PROBE)):
            part = getattr(status, name)
            if part is None:
                continue
            if (limited := self._limit(part, names, self._before(reported.mirror, f"{name}."))) is not part:
                changed[name] = limited
        if status.run is not None and (run := self.run(status.run)) is not status.run:
            changed["run"] = run
        ahead = report.made_at - self._at
        if ahead > SLACK:
            self._ahead = max(self._ahead, ahead)
        planned = self._planned(report, reported)
        if planned != reported.next_run_at:
            changed["next_run_at"] = planned
        return status._replace(**changed) if changed else status

    def _planned(self, report: Report, reported: MirrorStatus) -> float | None:
        """Return when the next run is due, by the manager's clock.

        None if it was planned from a time that is in the future even by the report's own clock, because the worker's
        clock was corrected in between.
        """
        planned = reported.next_run_at
        if planned is None:
            return None
        latest = max(self._at, report.made_at) + SLACK
        wrong = [at for at in _times(reported) if at is not None and at > latest]
        if wrong and planned > min(wrong):
            return None
        ahead = report.made_at - self._at
        if ahead > SLACK:
            planned -= ahead
        elif self._behind > SLACK:
            planned += self._behind
        return float(bounded({"next_run_at": planned}, STATUS_BOUNDS)["next_run_at"])

    def run(self, run: Run) -> Run:
        """Return a run, with its times limited."""
        key = self._worker, self._journal, run.id
        known = self._earlier.runs.get(key)
        limited = self._limit(run, _RUN, lambda name, _reported: getattr(known, name, None))
        # The same run can follow in this batch, as the last one of its mirror, and gets the same limits.
        if limited is not run:
            self._earlier.runs[key] = limited
        return limited

    def _before(self, mirror: str, prefix: str) -> Callable[[str, float], float | None]:
        """Return a function for a time's limit: the stored one if reported before, else now, which is recorded."""

        def find(name: str, reported: float) -> float:
            key = self._worker, mirror, prefix + name
            known = self._earlier.times.get(key)
            if known is not None and known.told == reported:
                return known.at
            self._earlier.times[key] = self.limited[key] = Limited(reported, self._at)
            return self._at

        return find

    def _limit(self, record: _Record, names: tuple[str, ...], before: Callable[[str, float], float | None]) -> _Record:
        found: dict[str, Any] = {}
        for name in names:
            reported = getattr(record, name)
            if reported is None or reported <= self._at + SLACK:
                continue
            known = before(name, reported)
            # The earlier limit may lie ahead as well, if the manager's own clock was set back since.
            found[name] = self._at if known is None else min(known, self._at)
            if found[name] == self._at:  # otherwise an earlier receipt has recorded how far the clock was ahead
                self._ahead = max(self._ahead, reported - self._at)
        return record._replace(**found) if found else record


def is_ahead(envelope: Envelope, received_at: float) -> bool:
    """Whether any time in an envelope's reports is in the future."""
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


def _never(_name: str, _reported: float) -> None:
    """Return no earlier limit, for records whose limits are not stored."""
