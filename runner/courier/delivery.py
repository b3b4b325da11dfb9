"""Delivery of the outbox to a manager of Skipjack, oldest report first.

A report leaves the outbox when the manager has acknowledged its number. A manager that has lost reports asks for a
snapshot, which has everything that it can no longer know.
"""

import time
from typing import Any, NamedTuple

from runner.base import runtime_dir
from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.courier.batches import Batches
from runner.courier.client import Acknowledgement, ManagerClient, ProtocolViolation
from runner.follow import noted
from runner.journal import journal, leftover_runs, rejected_reports
from runner.journal.journal import Journal
from runner.overrides import hold
from runner.pinning import suspect
from runner.plan import plan
from runner.plan.plan import Plan
from runner.run import progress
from runner.subprocesses import unit_health
from schemas.errors import SkipjackError
from schemas.records import RunnerSettings
from schemas.release import version
from schemas.report import SNAPSHOT, Envelope, ReportedProblem, RunProgress
from schemas.standard_streams import WARNING

RENEW_EVERY = 3600.0
"""Seconds within which the journal gets at most one new identity."""


class Delivered(NamedTuple):
    """The number of acknowledged reports, the last revision that the manager named, whether it had lost reports, and
    whether it asks for the worker's policy."""

    reports: int
    revision: str | None
    resent: bool
    policy_wanted: bool


def deliver(settings: RunnerSettings, client: ManagerClient) -> Delivered:
    """Send the whole outbox, or a heartbeat if it is empty.

    SkipjackError when the manager did not accept it. ProtocolViolation when its response is impossible, so that the
    number of requests is bounded whatever it answers.
    """
    layout = StateLayout(settings.state_dir)
    delivered, resent = 0, False
    with journal.opened(layout.journal) as book:
        # For the whole delivery, since it remembers the size of requests that the manager accepts.
        batches = Batches(client, book, layout)
        while True:
            reports, answer = batches.send(_envelope(settings, layout, book))
            # First: all numbers of such an answer are about another journal.
            if answer.acknowledged > book.outbox.newest():
                _renew(book, answer.acknowledged)
                continue
            if _has_lost_some(answer, reports, book):
                if resent:
                    raise ProtocolViolation("the manager asks for a snapshot again although it got one.", _ITS_LOG)
                what = "the manager has lost some earlier reports; sending a snapshot"
                log(what, about="courier", level=WARNING)
                book.outbox.snapshot(answer.acknowledged, time.time())
                resent = True
                continue
            taken = [report for report in reports if report["number"] <= answer.acknowledged]
            if taken:
                book.outbox.acknowledge(taken[-1]["number"])
                delivered += len(taken)
            if len(taken) < len(reports) and not (taken and answer.want == SNAPSHOT):
                took = f"only {len(taken)}" if taken else "none"
                raise ProtocolViolation(f"the manager acknowledged {took} of the {len(reports)} reports.", _ITS_LOG)
            if not book.outbox.pending():
                book.give_back()
                return Delivered(delivered, answer.revision, resent, answer.policy_wanted)


_ITS_LOG = "Check the manager's log. The reports wait here."


def _renew(book: Journal, acknowledged: int) -> None:
    """Give the journal a new identity; ProtocolViolation when it got one within the last hour and that did not help."""
    now = time.time()
    if 0 <= now - book.outbox.renewed_at() < RENEW_EVERY:
        what = f"the manager acknowledges report {acknowledged}, but the newest report here is {book.outbox.newest()}."
        raise ProtocolViolation(what, "Check which server answers at `manager.url`. The reports wait here.")
    what = "the manager has reports that this journal never made: the journal is an old copy and gets a new identity"
    log(what, about="courier", level=WARNING)
    book.outbox.renew(now)


def _has_lost_some(answer: Acknowledgement, reports: list[dict[str, Any]], book: Journal) -> bool:
    """Return whether the manager has lost reports. It asks for a snapshot when it gets a report after a gap."""
    if reports:
        return answer.want == SNAPSHOT and reports[0]["kind"] != SNAPSHOT
    return answer.acknowledged < book.outbox.acknowledged()


def _envelope(settings: RunnerSettings, layout: StateLayout, book: Journal) -> Envelope:
    active = {each.mirror for each in book.active()}
    try:
        with plan.opened(layout.plan) as opened:
            header, left = opened.header, leftover_runs.find(opened, active)
            problems = _definition_problems(opened)
        revision, slots, held = header.revision, header.slots, hold.is_held(header, book)
        policy, signer, key = header.policy or None, header.signer or None, header.signing_key or None
        pin = header.pin
        rejected = header.seen if header.seen != header.revision and not header.pin else None
        problems += tuple(ReportedProblem(*each) for each in noted.problems(layout, header))
        if suspected := suspect.look(book, header, time.time()):
            problems += (ReportedProblem(None, noted.REPOSITORY, *suspect.described(suspected)),)
        problems += tuple(ReportedProblem(None, "skipjack run", *leftover_runs.problem(name)) for name in left)
    except SkipjackError as error:  # no plan yet: the manager shows even that
        revision, slots, held = None, 0, settings.held and book.released() is None
        policy = rejected = signer = key = pin = None
        problems = (ReportedProblem(None, "plan", error.what, error.todo),)
    problems += tuple(ReportedProblem(None, *dead) for dead in unit_health.remembered(layout))
    if (missing := runtime_dir.make(settings.run_dir)) is not None:
        problems += (ReportedProblem(None, "run_dir", missing.what, missing.todo),)
    identity, now = book.outbox.identity(), time.time()
    problems += tuple(ReportedProblem(None, *each) for each in rejected_reports.remembered(layout, now))
    under_way = _progress(settings.run_dir, active)
    busy = book.busy_slots()
    envelope = Envelope(settings.worker, identity, now, version(), revision, slots, busy, problems, (), under_way)
    return envelope._replace(
        held=held,
        policy=policy,
        leftovers=noted.leftovers(layout),
        rejected=rejected,
        signer=signer,
        signing_key=key,
        pinned_until=pin.until if pin else None,
        pinned_by=pin.made_by if pin else None,
        pin_reason=pin.reason if pin else None,
    )


def _definition_problems(opened: Plan) -> tuple[ReportedProblem, ...]:
    """Return the problems that follow found; the mirror of each is one that keeps its last valid definition."""
    return tuple(
        ReportedProblem(name if name and opened.has(name) else None, place, what, todo)
        for name, place, what, todo in opened.header.problems
    )


def _progress(run_dir: str, active: set[str]) -> tuple[RunProgress, ...]:
    """Return the progress of the active runs. Files of killed runs and of other releases are ignored."""
    found = progress.read_all(run_dir)
    return tuple(
        RunProgress(name, **{key: found[name][key] for key in RunProgress._fields if key in found[name]})
        for name in sorted(active & found.keys())
        if "at" in found[name]
    )
