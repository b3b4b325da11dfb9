"""Which reports of a batch count, and what that leaves to be written: pure, so that every rule can be tested.

Per worker and journal the manager has acknowledged all reports up to a number. The next one is applied, earlier
ones are duplicates of a request whose answer was lost, and a later one shows that some are missing: then only a
snapshot can go on.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from schemas.report import SNAPSHOT, Envelope, MirrorStatus, Report, Run
from sitegen.messages.model import TUNASYNC, Acknowledgement, Delivery
from sitegen.storage import clocks, codec

SILENCE = 60.0
"""Seconds without a sign of life after which the next one is worth publishing at once."""

JournalKey = tuple[str, str]
"""A worker's name and the identity of its journal."""


class AcceptedReports(NamedTuple):
    """The number that is acknowledged now, the reports to apply, and whether a gap stopped us."""

    acknowledged: int
    reports: tuple[Report, ...]
    gap: bool


class BatchPlan(NamedTuple):
    """What one transaction has to write. A later status or run of the same key has taken the earlier one's place.

    `cleared` are workers whose snapshot replaces everything that was known of their mirrors; states are keyed by
    worker and mirror, runs by journal and number of the run and stand beside their mirror's name. `taken_over` are
    those of `cleared` that were workers of tunasync. `clocks` are the seconds by which workers' clocks were found to be
    ahead, and when; `limited` are times that lay in the future for the first time.
    """

    acknowledged: dict[JournalKey, int]
    envelopes: dict[str, Delivery]
    cleared: set[str]
    states: dict[tuple[str, str], tuple[str, MirrorStatus]]
    runs: dict[tuple[JournalKey, int], tuple[str, Run]]
    answers: list[Acknowledgement]
    news: bool
    taken_over: set[str]
    clocks: dict[str, tuple[float, float]]
    limited: dict[clocks.TimeKey, clocks.Limited]


class BatchContext(NamedTuple):
    """What the store knew before the batch: acknowledged numbers, the condition of workers that sent no reports,
    which workers with a new journal were workers of tunasync, and what times in the future were limited to."""

    acknowledged: Mapping[JournalKey, int]
    conditions: Mapping[str, "Condition"]
    of_tunasync: frozenset[str] = frozenset()
    earlier: clocks.Earlier = clocks.Earlier({}, {})


class Condition(NamedTuple):
    """What pages tell of a worker itself; a sign of life that repeats it is no news, unless there was a silence.

    `problems` and `progress` are as `codec` writes them.
    """

    last_seen: float
    journal: str
    version: str
    revision: str | None
    slots_total: int
    slots_busy: int
    problems: str
    progress: str
    held: bool


def accept_reports(acknowledged: int, reports: Iterable[Report]) -> AcceptedReports:
    """Apply the rule to one envelope's reports."""
    applied: list[Report] = []
    for report in reports:
        if report.number <= acknowledged:
            continue
        if report.number > acknowledged + 1 and report.kind != SNAPSHOT:
            return AcceptedReports(acknowledged, tuple(applied), True)
        acknowledged = int(report.number)
        applied.append(report)
    return AcceptedReports(acknowledged, tuple(applied), False)


def plan(deliveries: Sequence[Delivery], known: BatchContext) -> BatchPlan:
    """Work out what a batch leaves to be written, and whether it alters any page."""
    news = any(_is_news(delivery, known.conditions.get(delivery.envelope.worker)) for delivery in deliveries)
    result = BatchPlan(dict(known.acknowledged), {}, set(), {}, {}, [], news, set(), {}, {})
    earlier = clocks.Earlier(dict(known.earlier.times), dict(known.earlier.runs))
    for delivery in deliveries:
        envelope = delivery.envelope
        journal = (envelope.worker, envelope.journal)
        if envelope.worker in known.of_tunasync - result.taken_over and envelope.journal != TUNASYNC:
            result.taken_over.add(envelope.worker)
            _clear(result, envelope.worker)
        verdict = accept_reports(result.acknowledged.get(journal, 0), envelope.reports)
        result.acknowledged[journal] = verdict.acknowledged
        # times of workers of tunasync are the manager's own
        at = math.inf if envelope.journal == TUNASYNC else delivery.received_at
        receipt = clocks.Receipt(at, envelope.sent_at, *journal, earlier)
        for report in verdict.reports:
            _apply(result, envelope, report, receipt)
        result.limited.update(receipt.limited)
        result.envelopes[envelope.worker] = _as_of(delivery, receipt)
        result.answers.append(Acknowledgement(verdict.acknowledged, verdict.gap))
        if envelope.journal != TUNASYNC and (skew := receipt.skew(envelope)):
            result.clocks[envelope.worker] = skew, delivery.received_at
    return result


def _as_of(delivery: Delivery, receipt: clocks.Receipt) -> Delivery:
    told = delivery.envelope.progress
    limited = receipt.progress(told)
    return delivery if limited == told else delivery._replace(envelope=delivery.envelope._replace(progress=limited))


def _is_news(delivery: Delivery, before: Condition | None) -> bool:
    envelope = delivery.envelope
    if envelope.reports or before is None or delivery.received_at - before.last_seen > SILENCE:
        return True
    now = Condition(
        before.last_seen,
        envelope.journal,
        envelope.version,
        envelope.revision,
        envelope.slots_total,
        envelope.slots_busy,
        codec.encode_problems(envelope.problems),
        codec.encode_progress(envelope.progress),
        envelope.held,
    )
    return now != before


def _apply(result: BatchPlan, envelope: Envelope, report: Report, receipt: clocks.Receipt) -> None:
    worker, journal = envelope.worker, (envelope.worker, envelope.journal)
    if report.kind == SNAPSHOT:
        _clear(result, worker)
    for mirror, run in report.runs:
        result.runs[journal, int(run.id)] = (mirror, receipt.run(run))
    for told in report.statuses:
        status = receipt.status(report, told)
        result.states[worker, status.mirror] = (envelope.journal, status)
        if status.run is not None:
            result.runs[journal, int(status.run.id)] = (status.mirror, status.run)


def _clear(result: BatchPlan, worker: str) -> None:
    """Forget everything that was known of a worker's mirrors."""
    result.cleared.add(worker)
    for key in [key for key in result.states if key[0] == worker]:
        del result.states[key]
