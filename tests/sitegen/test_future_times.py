"""Stored times in the future, from an older release's database or after the manager's own clock was set back."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.clock.freshness import SLACK
from schemas.report import Override, Probe
from sitegen.messages import tunasync_rules
from sitegen.messages.model import PastRun
from sitegen.site import documents, future, tunasync
from sitegen.site.evaluate import Evaluator
from sitegen.site.pages import Pages
from sitegen.site.snapshot import Snapshot
from sitegen.storage import tunasync_store
from sitegen.storage.store import Store
from tests.sitegen.kit import HOUR, NOW, delivery_of, post_status, report_of, run_of, status_of
from tests.sitegen.test_evaluate import DAY, declared, evaluated, mirror, worker

AHEAD = NOW + 365 * DAY
RUN = run_of(3, launched_at=AHEAD - 2, started_at=AHEAD - 1, ended_at=AHEAD)
TOLD = status_of(at=AHEAD, run=RUN, next_run_at=NOW + 60, probe=Probe(AHEAD, NOW, NOW, True))
ZERO_TS = tunasync.ZERO_TS


def shown(now: float = NOW, evaluator: Evaluator | None = None) -> Snapshot:
    return evaluated(
        ("w1", TOLD), config=declared(mirror()), workers=(worker(last_seen=now),), now=now, evaluator=evaluator
    )


def test_a_success_in_the_future_is_not_fresh_and_has_no_time() -> None:
    (view,) = shown().mirrors
    assert (view.verdict, view.cause, view.stale_at, view.unknown_at) == ("unknown", "clock", None, None)
    status = view.best.status
    assert (status.last_started_at, status.last_ended_at, status.last_success_at) == (None, None, None)
    assert (status.next_run_at, status.probe) == (NOW + 60, None)
    assert status.run == RUN._replace(launched_at=None, started_at=None, ended_at=None)
    planned = evaluated(("w1", TOLD._replace(next_run_at=AHEAD + HOUR)), config=declared(mirror())).mirrors[0]
    assert planned.best.status.next_run_at is None, "it was planned from a time that is not believed"


def test_times_up_to_the_slack_count_as_past() -> None:
    latest = NOW + SLACK
    status = status_of(at=latest)
    assert future.believed(status, NOW) == (status, None)
    (view,) = evaluated(("w1", status._replace(last_started_at=AHEAD)), config=declared(mirror())).mirrors
    assert (view.best.status.last_started_at, view.best.status.last_success_at) == (None, latest)
    seen = worker(last_seen=latest)._replace(sent_at=NOW)
    assert future.last_seen_in_past(seen, NOW) == seen
    sent = worker(last_seen=latest + 1)._replace(sent_at=latest)
    assert future.last_seen_in_past(sent, NOW).last_seen == latest


def test_a_next_run_is_left_out_only_if_it_is_after_a_time_that_is() -> None:
    told = status_of(at=AHEAD, run=None, last_started_at=AHEAD)
    for planned, expected in ((AHEAD, AHEAD), (AHEAD + 1, None)):
        assert future.believed(told._replace(next_run_at=planned), NOW).status.next_run_at == expected


def test_documents_and_tunasyncs_list_have_no_time_in_the_future() -> None:
    snapshot = shown()
    (view,) = snapshot.mirrors
    plain = documents.alone(snapshot, documents.mirror(view, None), [PastRun("w1", RUN)])
    assert (plain["freshness"], plain["cause"], plain["last_success_at"]) == ("unknown", "clock", None)
    assert [(run["started_at"], run["ended_at"]) for run in plain["runs"]] == [(None, None)]
    job = tunasync.job(snapshot, view)
    assert [job[f"{key}_ts"] for key in ("last_update", "last_started", "last_ended")] == [ZERO_TS] * 3
    assert (job["status"], job["next_schedule_ts"]) == ("success", int(NOW) + 60)
    assert job["skipjack"]["freshness"] == "unknown"


def test_pages_show_that_a_clock_was_wrong() -> None:
    snapshot, pages = shown(), Pages()
    found = pages.mirrors(snapshot, snapshot.mirrors, {"debian": [PastRun("w1", RUN)]}) | pages.overviews(snapshot)
    page, index = found["mirrors/debian.html"].decode(), found["index.html"].decode()
    assert "The time of the last success is in the future because a clock was wrong." in page
    assert '<div><dt>Last success</dt><dd><span class="none">unknown</span></dd></div>' in page
    assert '<small class="why">wrong clock</small>' in index
    assert "2028" not in page + index


def test_a_time_counts_once_it_is_in_the_past_and_not_after_the_clock_is_set_back() -> None:
    kept = Evaluator()
    verdicts = [shown(now, kept).mirrors[0].verdict for now in (NOW, AHEAD - 601, AHEAD - 600, AHEAD, NOW)]
    assert verdicts == ["unknown", "unknown", "fresh", "fresh", "unknown"]
    assert evaluated(("w1", TOLD), config=declared(mirror()), now=NOW).changes_at is not None


def test_a_mirror_paused_in_the_future_was_paused_at_an_unknown_time() -> None:
    off = status_of(status="paused", override=Override("paused", AHEAD, "ada", "disk"), last_success_at=NOW - HOUR)
    (view,) = evaluated(("w1", off), config=declared(mirror())).mirrors
    assert (view.verdict, view.best.status.override) == ("fresh", Override("paused", None, "ada", "disk"))


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        (worker(last_seen=AHEAD)._replace(sent_at=NOW - 2 * HOUR), NOW - 2 * HOUR),
        (worker(last_seen=AHEAD), NOW - DAY),
        (worker(last_seen=AHEAD)._replace(first_seen=AHEAD), 0.0),
    ],
)
def test_a_worker_last_seen_in_the_future_is_not_online_for_years(state: Any, seen: float) -> None:
    found = evaluated(("w1", status_of()), config=declared(mirror()), workers=(state,))
    (view,) = [each for each in found.workers if each.name == "w1"]
    assert view.state is not None
    assert (view.state.last_seen, view.silent, found.mirrors[0].cause) == (seen, True, "silence")
    pages = Pages()
    pages.mirrors(found, found.mirrors, {"debian": ()})
    files = pages.overviews(found)
    (plain,) = [each for each in json.loads(files["status.json"])["workers"] if each["name"] == "w1"]
    assert (plain["last_seen_at"], plain["clock_skew"]) == (seen or None, 0.0)
    text = files["workers.html"].decode()
    assert ('<dd><span class="none">unknown</span></dd>' in text, "<dt>Clock</dt>" in text) == (seen == 0.0, False)


def test_the_next_post_corrects_a_tunasync_job_whose_times_are_ahead(tmp_path: Path) -> None:
    """Its times are the manager's own, whose clock was a year ahead and was then corrected."""

    def post(status: str, at: float) -> dict[str, Any]:
        found = tunasync_rules.message(json.dumps({"name": "debian", "status": status}).encode())
        return post_status(store, "go", "debian", found, int(at) * 10**9)

    with Store(str(tmp_path)) as store:
        store.write(tunasync_store.register, "go", "http://localhost:6000/", int(AHEAD) * 10**9)
        for status in ("pre-syncing", "success"):
            post(status, AHEAD)
        (view,) = Evaluator().evaluate(store.facts(), NOW).mirrors
        assert (view.verdict, view.cause) == ("unknown", "clock")
        right = tunasync_rules.stamp(int(NOW) * 10**9)
        job = post("failed", NOW)
        assert [job[key] for key in ("last_update", "last_started", "last_ended")] == [right] * 3
        assert post("failed", NOW + 3 * DAY)["last_update"] == right, "it does not move on with every post"
        (view,) = Evaluator().evaluate(store.facts(), NOW + 3 * DAY).mirrors
        assert (view.verdict, view.cause, view.best.status.last_success_at) == ("stale", "age", NOW)


def test_a_wrong_clock_is_shown_and_the_success_keeps_the_time_when_it_was_received(tmp_path: Path) -> None:
    """From the report of a worker whose clock is 2 h ahead to the pages and to tunasync's list."""
    ahead = NOW + 2 * HOUR
    with Store(str(tmp_path)) as store:
        for number, at in ((1, NOW), (2, NOW + HOUR)):
            report = report_of(number, status_of(at=ahead, run=None))._replace(made_at=at + 2 * HOUR)
            store.apply([delivery_of(report, at=at, sent_at=at + 2 * HOUR)])
            snapshot, pages = Evaluator().evaluate(store.facts(), at), Pages()
            files = pages.mirrors(snapshot, snapshot.mirrors, {"debian": ()}) | pages.overviews(snapshot)
            assert json.loads(files["mirrors/debian.json"])["last_success_at"] == NOW
            (job,) = json.loads(files["static/tunasync.json"])
            assert (job["last_update_ts"], job["last_ended_ts"]) == (int(NOW), int(NOW))
            assert '<dt>Clock</dt><dd><strong class="warn">2h ahead' in files["workers.html"].decode()
