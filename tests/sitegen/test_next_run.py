"""How pages and documents show a next run whose planned time has passed."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.report import MirrorStatus
from sitegen.site import tunasync
from sitegen.site.evaluate import LATE, Evaluator
from sitegen.site.pages import Pages
from sitegen.site.snapshot import Snapshot
from sitegen.storage.store import Store
from tests.sitegen.kit import HOUR, NOW, delivery_of, report_of, run_of, status_of
from tests.sitegen.test_evaluate import DAY, declared, evaluated, mirror, worker
from tests.sitegen.test_pages import Page

PLANNED = NOW + HOUR
PLAN = "2027-01-15 09:00"


def shown(status: MirrorStatus, now: float, evaluator: Evaluator | None = None) -> Snapshot:
    return evaluated(
        ("w1", status), config=declared(mirror()), workers=(worker(last_seen=now),), now=now, evaluator=evaluator
    )


def read(snapshot: Snapshot) -> tuple[str, int, Any]:
    """Return the next run as the mirror's page, tunasync's list and JSON show it."""
    pages = Pages()
    files = pages.mirrors(snapshot, snapshot.mirrors, {"debian": ()}) | pages.overviews(snapshot)
    words = Page(files["mirrors/debian.html"].decode()).text.partition("Next run ")[2].partition(" Size")[0]
    (job,) = json.loads(files["static/tunasync.json"])
    return words, job["next_schedule_ts"], json.loads(files["mirrors/debian.json"])["copies"][0]["next_run_at"]


@pytest.mark.parametrize(
    ("status", "now", "words", "listed"),
    [
        ("success", PLANNED + LATE - 1, PLAN, int(PLANNED)),
        ("success", PLANNED + LATE, f"due since {PLAN}", tunasync.ZERO_TS),
        ("queued", PLANNED - 1, PLAN, int(PLANNED)),
        ("queued", PLANNED, f"due since {PLAN}", tunasync.ZERO_TS),
        ("syncing", PLANNED, "running", tunasync.ZERO_TS),
    ],
)
def test_a_next_run_whose_time_has_passed_is_due(status: str, now: float, words: str, listed: int) -> None:
    told = status_of(status=status, last_success_at=NOW, next_run_at=PLANNED)
    assert read(shown(told, now)) == (words, listed, PLANNED)


@pytest.mark.parametrize(
    ("status", "words"),
    [("queued", "due"), ("launching", "running"), ("syncing", "running"), ("success", "not scheduled")],
)
def test_a_queued_or_active_mirror_without_a_planned_time_is_due_or_running(status: str, words: str) -> None:
    told = status_of(status=status, last_success_at=NOW)._replace(next_run_at=None)
    assert read(shown(told, NOW)) == (words, tunasync.ZERO_TS, None)


def test_a_page_shows_it_without_another_report() -> None:
    kept, told = Evaluator(), status_of(next_run_at=PLANNED)
    first = shown(told, NOW, kept)
    assert first.changes_at == PLANNED
    assert shown(told, PLANNED + LATE - 1, kept).changes_at == PLANNED + LATE
    assert [shown(told, at, kept).mirrors[0].best.is_due for at in (NOW, PLANNED + LATE)] == [False, True]


@pytest.mark.parametrize("status", ["paused", "disabled"])
def test_a_paused_or_disabled_mirror_has_no_next_run(status: str) -> None:
    told = status_of(status=status, last_success_at=NOW, next_run_at=PLANNED)
    assert read(shown(told, NOW)) == ("not scheduled", tunasync.ZERO_TS, None)


def test_no_run_is_planned_by_a_clock_a_year_ahead_and_a_clock_behind_plans_by_its_own_time(
    tmp_path: Path,
) -> None:
    year = NOW + 365 * DAY
    with Store(str(tmp_path)) as store:
        wrong = status_of(at=year, run=run_of(ended_at=year))
        reports = [
            (report_of(1, wrong)._replace(made_at=year), year, NOW, PLAN, int(PLANNED)),
            (report_of(2, wrong, kind="snapshot"), NOW, NOW, "not scheduled", tunasync.ZERO_TS),
            (report_of(3, status_of(at=NOW - 7200))._replace(made_at=NOW - 7200), NOW - 7200, NOW, PLAN, int(PLANNED)),
        ]
        for report, sent_at, at, words, listed in reports:
            store.apply([delivery_of(report, at=at, sent_at=sent_at)])
            assert read(Evaluator().evaluate(store.facts(), NOW))[:2] == (words, listed)
