"""Which reports of a batch count, and what that leaves to be written: pure, so that every rule can be tested.

Per worker and journal the manager has acknowledged all reports up to a number. The next one is applied, earlier
ones are duplicates of a request whose answer was lost, and a later one shows that some are missing: then only a
snapshot can go on.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas.report import SNAPSHOT, Envelope, MirrorStatus, Report, Run
from sitegen.model import Answer, Delivery

Journal = tuple[str, str]
"""A worker's name and the identity of its journal."""


class Verdict(NamedTuple):
    """The number that is acknowledged now, the reports to apply, and whether a gap stopped us."""

    acknowledged: int
    reports: tuple[Report, ...]
    gap: bool


class Plan(NamedTuple):
    """What one transaction has to write. A later status or run of the same key has taken the earlier one's place.

    `cleared` are workers whose snapshot replaces everything that was known of their mirrors; states are keyed by
    worker and mirror, runs by journal and number of the run and stand beside their mirror's name.
    """

    acknowledged: dict[Journal, int]
    envelopes: dict[str, Delivery]
    cleared: set[str]
    states: dict[tuple[str, str], tuple[str, MirrorStatus]]
    runs: dict[tuple[Journal, int], tuple[str, Run]]
    answers: list[Answer]


def judge(acknowledged: int, reports: Iterable[Report]) -> Verdict:
    """Apply the rule to one envelope's reports."""
    applied: list[Report] = []
    for report in reports:
        if report.number <= acknowledged:
            continue
        if report.number > acknowledged + 1 and report.kind != SNAPSHOT:
            return Verdict(acknowledged, tuple(applied), True)
        acknowledged = int(report.number)
        applied.append(report)
    return Verdict(acknowledged, tuple(applied), False)


def plan(deliveries: Iterable[Delivery], acknowledged: Mapping[Journal, int]) -> Plan:
    """Work out what a batch leaves to be written, given what was acknowledged before it."""
    result = Plan(dict(acknowledged), {}, set(), {}, {}, [])
    for delivery in deliveries:
        envelope = delivery.envelope
        journal = (envelope.worker, envelope.journal)
        verdict = judge(result.acknowledged.get(journal, 0), envelope.reports)
        result.acknowledged[journal] = verdict.acknowledged
        result.envelopes[envelope.worker] = delivery
        result.answers.append(Answer(verdict.acknowledged, verdict.gap))
        for report in verdict.reports:
            _apply(result, envelope, report)
    return result


def _apply(result: Plan, envelope: Envelope, report: Report) -> None:
    worker, journal = envelope.worker, (envelope.worker, envelope.journal)
    if report.kind == SNAPSHOT:
        result.cleared.add(worker)
        for key in [key for key in result.states if key[0] == worker]:
            del result.states[key]
    for mirror, run in report.runs:
        result.runs[journal, int(run.id)] = (mirror, run)
    for status in report.statuses:
        result.states[worker, status.mirror] = (envelope.journal, status)
        if status.run is not None:
            result.runs[journal, int(status.run.id)] = (status.mirror, status.run)
