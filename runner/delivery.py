"""Delivering the outbox to a manager of Skipjack, oldest first.

A report leaves the outbox when the manager has acknowledged its number. A manager that lost numbers asks for a
snapshot, and gets everything that it cannot know.
"""

import time
from typing import Any, NamedTuple

from runner import journal, plan, progress
from runner.client import Answer, Client, TooLarge
from runner.journal import Journal
from runner.output import log
from runner.places import Places
from schemas import VERSION
from schemas.errors import SkipjackError
from schemas.records import RunnerSettings
from schemas.report import SNAPSHOT, Envelope, Problem, Progress, encode_envelope

BATCH = 500
BATCH_BYTES = 4 * 1024**2
"""At most this many reports, and about this many bytes of them, go into one request."""


class Delivered(NamedTuple):
    """How many reports were acknowledged, and the revision of the configuration that the manager named at last."""

    reports: int
    revision: str | None


def deliver(settings: RunnerSettings, client: Client) -> Delivered:
    """Send all that waits, and a sign of life if nothing does."""
    places = Places(settings.state_dir)
    delivered = 0
    with journal.opened(places.journal) as book:
        while True:
            reports, answer = _send(client, _envelope(settings, places, book), book)
            if answer.acknowledged > book.newest():
                log("the manager knows reports that this journal never made: it is an old copy and gets a new identity")
                book.renew()
                continue
            if _has_lost_some(answer, reports, book):
                log("the manager does not know some earlier reports; sending all that it cannot know")
                book.snapshot(answer.acknowledged, time.time())
                continue
            taken = [report for report in reports if report["number"] <= answer.acknowledged]
            if reports and not taken:
                raise SkipjackError("The manager took none of the reports.", "See its log; they wait here.")
            if taken:
                book.acknowledge(taken[-1]["number"])
                delivered += len(taken)
            if not book.pending():
                return Delivered(delivered, answer.revision)


def _send(client: Client, envelope: Envelope, book: Journal) -> tuple[list[dict[str, Any]], Answer]:
    """Send the oldest reports: as many as may be, or half as many where that is too large, down to a single one."""
    most = BATCH
    while True:
        reports = book.outbox(most, BATCH_BYTES)
        try:
            return reports, client.send(encode_envelope(envelope, reports))
        except TooLarge:
            if len(reports) < 2:
                raise
            most = len(reports) // 2


def _has_lost_some(answer: Answer, reports: list[dict[str, Any]], book: Journal) -> bool:
    """Tell whether the manager lacks reports that it once had; it says so itself if it gets one that comes later."""
    if reports:
        return answer.want == SNAPSHOT and reports[0]["kind"] != SNAPSHOT
    return answer.acknowledged < book.acknowledged()


def _envelope(settings: RunnerSettings, places: Places, book: Journal) -> Envelope:
    try:
        with plan.opened(places.plan) as opened:
            header = opened.header
        revision, slots = header.revision, header.slots
        problems = tuple(Problem(*each) for each in header.problems)
    except SkipjackError as error:  # no plan yet: the manager should know even that
        revision, slots, problems = None, 0, (Problem(None, "plan", error.what, error.todo),)
    active = {each.mirror for each in book.active()}
    identity, now = book.identity(), time.time()
    under_way = _progress(settings.run_dir, active)
    return Envelope(settings.worker, identity, now, VERSION, revision, slots, len(active), problems, (), under_way)


def _progress(run_dir: str, active: set[str]) -> tuple[Progress, ...]:
    """How far the active runs are; a run that was killed, or of another version, may have left something else."""
    found = progress.read_all(run_dir)
    return tuple(
        Progress(name, **{key: found[name][key] for key in Progress._fields if key in found[name]})
        for name in sorted(active & found.keys())
        if "at" in found[name]
    )
