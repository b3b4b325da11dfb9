"""Which reports of a batch are accepted, and what to write for them. No I/O, so that every rule can be tested.

For each worker and journal, all reports up to a number are acknowledged. The next number is applied. A lower one is a
duplicate of a request whose answer was lost. A higher one means that reports are missing: then only a snapshot is
accepted.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from schemas.report import SNAPSHOT, Envelope, MirrorStatus, Report, Run
from sitegen.messages.model import TUNASYNC, Delivery, DeliveryAcknowledgement
from sitegen.storage import clocks, codec

SILENCE = 60.0
"""Seconds without a heartbeat after which the next one is published at once."""

JournalKey = tuple[str, str]
"""A worker's name and the identity of its journal."""


class AcceptedReports(NamedTuple):
    """The number acknowledged now, the reports to apply, and whether there was a gap."""

    acknowledged: int
    reports: tuple[Report, ...]
    gap: bool


class BatchPlan(NamedTuple):
    """What one transaction writes. A later status or run replaces an earlier one with the same key.

    `cleared` are workers whose snapshot replaces all stored states of their mirrors. States are keyed by worker and
    mirror; runs by journal and run number, with their mirror's name. `taken_over` are those of `cleared` that were
    workers of tunasync. `clocks` are by how many seconds workers' clocks were ahead, and when; `limited` are times that
    were in the future for the first time. `news` is whether any page must change.
    """

    acknowledged: dict[JournalKey, int]
    envelopes: dict[str, Delivery]
    cleared: set[str]
    states: dict[tuple[str, str], tuple[str, MirrorStatus]]
    runs: dict[tuple[JournalKey, int], tuple[str, Run]]
    answers: list[DeliveryAcknowledgement]
    news: bool
    taken_over: set[str]
    clocks: dict[str, tuple[float, float]]
    limited: dict[clocks.TimeKey, clocks.Limited]


class BatchContext(NamedTuple):
    """The stored state before the batch: acknowledged numbers, the conditions of workers that sent no reports, which
    workers with a new journal were workers of tunasync, and what times in the future were limited to."""

    acknowledged: Mapping[JournalKey, int]
    conditions: Mapping[str, "Condition"]
    of_tunasync: frozenset[str] = frozenset()
    earlier: clocks.Earlier = clocks.Earlier({}, {})


class Condition(NamedTuple):
    """What pages show of a worker itself. A heartbeat that repeats it changes no page, except after SILENCE seconds.

    `problems` and `progress` are as `codec` encodes them.
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
    leftovers: int | None
    rejected: str | None = None
    signer: str | None = None
    signing_key: str | None = None
    pinned_until: float | None = None
    pinned_by: str | None = None
    pin_reason: str | None = None


def accept_reports(acknowledged: int, reports: Iterable[Report]) -> AcceptedReports:
    """Return which of one envelope's reports to apply."""
    applied: list[Report] = []
    for report in reports:
        if report.number <= acknowledged:
            continue
        # A snapshot has all states, so the reports before it may be missing.
        if report.number > acknowledged + 1 and report.kind != SNAPSHOT:
            return AcceptedReports(acknowledged, tuple(applied), True)
        acknowledged = int(report.number)
        applied.append(report)
    return AcceptedReports(acknowledged, tuple(applied), False)


def plan(deliveries: Sequence[Delivery], known: BatchContext) -> BatchPlan:
    """Return what to write for a batch, and whether it changes any page."""
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
        # times of tunasync's workers are from the manager's own clock, so they are not limited
        at = math.inf if envelope.journal == TUNASYNC else delivery.received_at
        receipt = clocks.Receipt(at, envelope.sent_at, *journal, earlier)
        for report in verdict.reports:
            _apply(result, envelope, report, receipt)
        result.limited.update(receipt.limited)
        result.envelopes[envelope.worker] = _as_of(delivery, receipt)
        result.answers.append(DeliveryAcknowledgement(verdict.acknowledged, verdict.gap))
        if envelope.journal != TUNASYNC and (skew := receipt.skew(envelope)):
            result.clocks[envelope.worker] = skew, delivery.received_at
    return result


def _as_of(delivery: Delivery, receipt: clocks.Receipt) -> Delivery:
    envelope = delivery.envelope
    return delivery._replace(envelope=envelope._replace(progress=receipt.progress(envelope.progress)))


def condition(envelope: Envelope, last_seen: float) -> Condition:
    """Return a worker's condition as its envelope has it, with when it was last seen (Unix seconds)."""
    return Condition(
        last_seen,
        envelope.journal,
        envelope.version,
        envelope.revision,
        envelope.slots_total,
        envelope.slots_busy,
        codec.encode_problems(envelope.problems),
        codec.encode_progress(envelope.progress),
        envelope.held,
        envelope.leftovers,
        envelope.rejected,
        envelope.signer,
        envelope.signing_key,
        envelope.pinned_until,
        envelope.pinned_by,
        envelope.pin_reason,
    )


def _is_news(delivery: Delivery, before: Condition | None) -> bool:
    envelope = delivery.envelope
    if envelope.reports or before is None or delivery.received_at - before.last_seen > SILENCE:
        return True
    return condition(envelope, before.last_seen) != before  # the same time, so that only the rest is compared


def _apply(result: BatchPlan, envelope: Envelope, report: Report, receipt: clocks.Receipt) -> None:
    worker, journal = envelope.worker, (envelope.worker, envelope.journal)
    if report.kind == SNAPSHOT:
        _clear(result, worker)
    for mirror, run in report.runs:
        result.runs[journal, int(run.id)] = (mirror, receipt.run(run))
    for reported in report.statuses:
        status = receipt.status(report, reported)
        result.states[worker, status.mirror] = (envelope.journal, status)
        if status.run is not None:
            result.runs[journal, int(status.run.id)] = (status.mirror, status.run)


def _clear(result: BatchPlan, worker: str) -> None:
    """Drop all states of a worker's mirrors, stored ones and those from earlier in the batch."""
    result.cleared.add(worker)
    for key in [key for key in result.states if key[0] == worker]:
        del result.states[key]
