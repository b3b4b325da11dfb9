"""When a worker of tunasync counts as offline: between two jobs, from an end to the next start, it sends nothing."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from schemas.report import MirrorStatus
from sitegen.messages.tunasync_rules import Message
from sitegen.site.evaluate import Evaluator
from sitegen.site.silence import GRAIN, LATE, LONGEST, NO_REPORT, silent_at
from sitegen.storage import tunasync_store
from sitegen.storage.store import Store
from tests.sitegen.kit import HOUR, NOW, delivery_of, post_status, report_of, status_of

DAY = 24 * HOUR
QUIET = 1800.0


def job(status: str = "success", due: float | None = NOW + HOUR, name: str = "m") -> MirrorStatus:
    return status_of(name, status, next_run_at=due)


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([job()], NOW + HOUR + LATE),
        ([job("failed")], NOW + HOUR + LATE),
        ([job("none")], NOW + HOUR + LATE),
        ([job(due=NOW + HOUR + 1)], NOW + HOUR + 1 + LATE),
        ([job(due=NOW + 3 * HOUR), job("failed", NOW + 2 * HOUR)], NOW + 2 * HOUR + LATE),
        ([job(due=NOW + 30 * DAY)], NOW + 30 * DAY + LATE),
        ([job(), job("syncing", NOW - HOUR)], NOW + NO_REPORT),
        ([job(), job("pre-syncing", NOW - HOUR)], NOW + NO_REPORT),
        ([job("paused"), job("disabled", NOW + 2 * HOUR)], NOW + NO_REPORT),
        ([job("paused"), job(due=NOW + 5 * HOUR)], NOW + 5 * HOUR + LATE),
        ([job(due=NOW - HOUR), job(due=NOW + 5 * HOUR)], NOW + 5 * HOUR + LATE),
        ([job(due=NOW)], NOW + NO_REPORT),
        ([job(due=None)], NOW + NO_REPORT),
        ([], NOW + NO_REPORT),
    ],
    ids=[
        "at rest", "after a failure", "never ran", "rounded up", "the first counts", "a month away", "syncing",
        "about to sync", "all are paused", "one is paused", "one was due when last seen", "all were",
        "no next run", "no job",
    ],
)  # fmt: skip
def test_its_next_report_is_expected_when_the_first_job_is_due(jobs: list[MirrorStatus], expected: float) -> None:
    found = silent_at(NOW, QUIET, jobs)
    assert expected <= found < expected + GRAIN
    assert found == silent_at(NOW, QUIET, jobs[::-1])


def test_it_is_never_offline_before_silent_after() -> None:
    assert DAY <= silent_at(NOW, DAY, [job()]) - NOW < DAY + GRAIN


def test_a_worker_whose_clock_is_years_ahead_is_not_online_for_years() -> None:
    assert silent_at(NOW, QUIET, [job(due=NOW + 400 * DAY)]) - NOW < LONGEST + GRAIN


def said(store: Store, at: float, status: str, due: float) -> None:
    """Send what a worker of tunasync does when a job's status changes: the status, then its schedule."""
    plain: dict[str, Any] = {"name": "debian", "status": status, "upstream": "rsync://up/"}
    post_status(store, "go", "debian", Message(plain), int(at * 1e9))
    store.write(tunasync_store.schedule, "go", {"debian": datetime.fromtimestamp(due, UTC).isoformat()}, int(at * 1e9))


def test_a_killed_worker_of_tunasync_is_offline_once_its_next_job_was_due_but_not_while_one_is_active(
    store: Store,
) -> None:
    """An evaluator with a cache returns the same as one without."""
    kept = Evaluator()

    def verdict(at: float) -> tuple[str, str | None, bool]:
        facts = store.facts()
        found = kept.evaluate(facts, at)
        assert found == Evaluator().evaluate(facts, at)
        (view,) = found.mirrors
        return view.verdict, view.cause, found.workers[0].silent

    store.write(tunasync_store.register, "go", "http://localhost:6000/", int(NOW * 1e9))
    said(store, NOW, "success", NOW + 8 * HOUR)
    assert verdict(NOW + 8 * HOUR) == ("fresh", None, False)
    assert verdict(NOW + 8 * HOUR + LATE + GRAIN) == ("unknown", "silence", True)
    began = NOW + 8 * HOUR
    said(store, began, "pre-syncing", began)
    said(store, began + 3, "syncing", began)
    assert verdict(began + 10 * HOUR) == ("fresh", None, False), "it takes long"
    assert verdict(began + NO_REPORT + HOUR) == ("unknown", "silence", True)
    ended = began + 11 * HOUR
    said(store, ended, "success", ended + 8 * HOUR)
    assert verdict(ended + 8 * HOUR) == ("fresh", None, False)
    assert verdict(ended + 8 * HOUR + LATE + GRAIN) == ("unknown", "silence", True), "earlier than while it was at work"


def test_a_mirrors_view_stays_while_its_worker_reports_no_new_schedule(store: Store) -> None:
    evaluator, now = Evaluator(), time.time()
    store.write(tunasync_store.register, "go", "", int(now * 1e9))
    said(store, now, "success", now + 8 * HOUR)
    before = evaluator.evaluate(store.facts(), now)
    store.apply([delivery_of(report_of(1, status_of("other", at=now)), at=now)])
    after = evaluator.evaluate(store.facts(), now + 60)
    assert after.mirrors[0] is before.mirrors[0]
