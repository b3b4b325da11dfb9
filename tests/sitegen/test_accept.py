import pytest

from schemas.clock.freshness import SLACK
from schemas.report import Override, Probe, RunProgress
from sitegen.messages.model import TUNASYNC
from sitegen.storage import accept, clocks
from sitegen.storage.accept import BatchContext
from tests.sitegen.kit import JOURNAL, NOW, REVISION, delivery_of, report_of, run_of, status_of

NOTHING = BatchContext({}, {})


def known(acknowledged: int) -> BatchContext:
    condition = accept.Condition(NOW, JOURNAL, "0.1.0", REVISION, 4, 1, "[]", "[]", False, None)
    return BatchContext({("w1", JOURNAL): acknowledged}, {"w1": condition})


def numbers(acknowledged: int, *reports: tuple[int, str]) -> tuple[int, list[int], bool]:
    verdict = accept.accept_reports(acknowledged, [report_of(number, kind=kind) for number, kind in reports])
    return verdict.acknowledged, [report.number for report in verdict.reports], verdict.gap


def test_the_next_report_counts() -> None:
    assert numbers(0, (1, "change"), (2, "change")) == (2, [1, 2], False)


def test_a_duplicate_is_ignored() -> None:
    assert numbers(2, (1, "change"), (2, "snapshot"), (3, "change")) == (3, [3], False)


def test_a_gap_stops_and_reports_before_it_count() -> None:
    assert numbers(1, (2, "change"), (4, "change"), (5, "change")) == (2, [2], True)


def test_a_snapshot_closes_a_gap() -> None:
    assert numbers(1, (7, "snapshot"), (8, "change")) == (8, [7, 8], False)


def test_numbers_are_integers_however_json_wrote_them() -> None:
    report = report_of(2, status_of(run=run_of(7)), runs=(("gnu", run_of(6)),))
    (_, first), (_, second) = report.runs[0], ("debian", report.statuses[0].run)
    assert second is not None
    floats = report._replace(
        number=2.0,  # type: ignore[arg-type] # a valid integer of JSON
        runs=(("gnu", first._replace(id=6.0)),),  # type: ignore[arg-type]
        statuses=(report.statuses[0]._replace(run=second._replace(id=7.0)),),  # type: ignore[arg-type]
    )
    plan = accept.plan([delivery_of(floats)], known(1))
    assert [repr(plan.answers[0].acknowledged), *(repr(number) for _, number in plan.runs)] == ["2", "6", "7"]


def test_an_envelope_without_reports_is_a_heartbeat() -> None:
    assert numbers(5) == (5, [], False)


def test_a_later_status_replaces_the_earlier_one() -> None:
    first, second = status_of(status="syncing"), status_of(status="success")
    plan = accept.plan([delivery_of(report_of(1, first)), delivery_of(report_of(2, second))], NOTHING)
    assert plan.states == {("w1", "debian"): (JOURNAL, second)}
    assert [answer.acknowledged for answer in plan.answers] == [1, 2]
    assert plan.runs == {(("w1", JOURNAL), 1): ("debian", second.run)}


def test_a_snapshot_replaces_all_states_of_its_worker_only() -> None:
    before = [delivery_of(report_of(1, status_of("gone"))), delivery_of(report_of(1, status_of("other")), worker="w2")]
    snapshot = report_of(2, status_of("debian"), kind="snapshot", runs=(("debian", run_of(7)),))
    plan = accept.plan([*before, delivery_of(snapshot)], NOTHING)
    assert set(plan.states) == {("w2", "other"), ("w1", "debian")}
    assert plan.cleared == {"w1"}
    assert (("w1", JOURNAL), 7) in plan.runs


def test_a_reinstalled_workers_numbers_start_at_one() -> None:
    plan = accept.plan([delivery_of(report_of(1, status_of()), journal="f" * 32)], known(99))
    assert plan.answers[0].acknowledged == 1
    assert plan.acknowledged["w1", JOURNAL] == 99


def test_a_heartbeat_without_changes_is_not_news() -> None:
    for seconds in (0, 1, 60):
        assert not accept.plan([delivery_of(at=NOW + seconds)], known(1)).news


def test_news_of_one_delivery_are_news_of_the_batch() -> None:
    heartbeat = delivery_of()
    assert accept.plan([heartbeat, delivery_of(slots_busy=2), heartbeat], known(1)).news
    assert not accept.plan([heartbeat, heartbeat], known(1)).news


def test_the_first_report_of_skipjack_replaces_what_a_worker_of_tunasync_had() -> None:
    """Once: what the new journal reports in the same batch stays."""
    context = BatchContext({}, {}, frozenset({"w1", "w2"}))
    old = delivery_of(report_of(1, status_of("old")), journal=TUNASYNC)
    new = [delivery_of(report_of(n, status_of(name))) for n, name in ((1, "debian"), (2, "gnu"))]
    plan = accept.plan([old, *new], context)
    assert {mirror for _, mirror in plan.states} == {"debian", "gnu"}
    assert (plan.taken_over, plan.cleared) == ({"w1"}, {"w1"})


def test_a_worker_that_is_still_one_of_tunasync_keeps_its_states() -> None:
    deliveries = [delivery_of(report_of(n, status_of(str(n))), journal=TUNASYNC) for n in (1, 2)]
    plan = accept.plan(deliveries, BatchContext({}, {}, frozenset({"w1"})))
    assert {mirror for _, mirror in plan.states} == {"1", "2"}
    assert (plan.taken_over, plan.cleared) == (set(), set())


def test_every_change_that_a_page_shows_is_news() -> None:
    assert accept.plan([delivery_of()], NOTHING).news, "a worker never seen"
    assert accept.plan([delivery_of(report_of(2, status_of()))], known(1)).news, "a report"
    assert accept.plan([delivery_of(slots_busy=2)], known(1)).news, "another condition"
    assert accept.plan([delivery_of(held=True)], known(1)).news, "a held worker"
    assert accept.plan([delivery_of(leftovers=1)], known(1)).news, "a directory without a definition"
    assert accept.plan([delivery_of(at=NOW + 60.1)], known(1)).news, "a heartbeat after a pause of more than a minute"
    assert accept.plan([delivery_of(progress=(RunProgress("debian", NOW, 5.0),))], known(1)).news, "progress"


def test_past_events_are_not_after_the_time_of_receipt() -> None:
    """Neither in states nor in runs, with a clock that is a year ahead; and no run is planned from such a time."""
    year = 365 * 86400.0
    run = run_of(3, launched_at=NOW + year - 2, started_at=NOW + year - 1, ended_at=NOW + year)
    told = status_of(at=NOW + year, run=run, next_run_at=NOW + year + 60)
    plan = accept.plan([delivery_of(report_of(1, told, runs=(("old", run._replace(id=2)),)))], NOTHING)
    _, known = plan.states["w1", "debian"]
    assert (known.last_started_at, known.last_ended_at, known.last_success_at) == (NOW, NOW, NOW)
    assert known.next_run_at is None
    for _, kept in plan.runs.values():
        assert (kept.launched_at, kept.started_at, kept.ended_at) == (NOW, NOW, NOW)
    assert known.run == plan.runs[("w1", JOURNAL), 3][1]


def test_a_plan_does_not_change_what_is_known() -> None:
    run = run_of(3, launched_at=NOW, started_at=NOW, ended_at=NOW + 1e6)
    accept.plan([delivery_of(report_of(1, status_of(at=NOW + 1e6, run=run)))], context := BatchContext({}, {}))
    assert context == BatchContext({}, {}, frozenset(), clocks.Earlier({}, {}))


def test_all_times_by_a_workers_clock_are_limited_and_its_skew_is_stored() -> None:
    year = 365 * 86400.0
    probe = Probe(NOW + year, NOW + 2 * year, NOW + year, even_at=NOW + year, seen_at=NOW + year)
    told = status_of(at=NOW, run=None, probe=probe, override=Override("paused", NOW + year))
    plan = accept.plan([delivery_of(report_of(1, told), progress=(RunProgress("debian", NOW + year),))], NOTHING)
    _, known = plan.states["w1", "debian"]
    assert known.probe == Probe(NOW, NOW + 2 * year, NOW + year, even_at=NOW, seen_at=NOW), (
        "times from files are not limited"
    )
    assert known.override == Override("paused", NOW)
    assert plan.envelopes["w1"].envelope.progress == (RunProgress("debian", NOW),)
    assert plan.clocks == {"w1": (year, NOW)}


def test_a_next_run_planned_by_a_wrong_clock_is_moved_by_the_skew() -> None:
    report = report_of(1, status_of(at=NOW, next_run_at=NOW + 7200 + 60))._replace(made_at=NOW + 7200)
    plan = accept.plan([delivery_of(report)], NOTHING)
    assert plan.states["w1", "debian"][1].next_run_at == NOW + 60
    assert plan.clocks == {"w1": (7200.0, NOW)}


@pytest.mark.parametrize(("planned", "found"), [(60.0, NOW + 60), (1e6, NOW + 1e6), (2e6, NOW + 2e6), (2e6 + 1, None)])
def test_a_next_run_by_a_correct_clock_stays_beside_an_older_success_by_a_wrong_one(
    planned: float, found: float | None
) -> None:
    told = status_of(at=NOW, last_success_at=NOW + 2e6, next_run_at=NOW + planned)
    plan = accept.plan([delivery_of(report_of(1, told))], NOTHING)
    assert plan.states["w1", "debian"][1].next_run_at == found


@pytest.mark.parametrize(
    ("made_at", "sent_at", "planned", "found"),
    [
        (NOW - 7200, NOW - 7200, NOW - 3600, NOW + 3600),
        (NOW - 9000, NOW - 7200, NOW - 7260, NOW - 60),  # it waited for half an hour to be sent
        (NOW - 7200, NOW, NOW - 3600, NOW - 3600),  # late, by a clock that is right
        (NOW - 600, NOW - 600, NOW, NOW),
        (NOW + 1e9, NOW, 5.0, 0.0),
        (0.0, 0.0, 1e11, 1e11),
    ],
)
def test_a_next_run_is_as_far_away_as_the_worker_reported(
    made_at: float, sent_at: float, planned: float, found: float
) -> None:
    report = report_of(1, status_of(at=NOW - 9000, next_run_at=planned))._replace(made_at=made_at)
    plan = accept.plan([delivery_of(report, sent_at=sent_at)], NOTHING)
    assert plan.states["w1", "debian"][1].next_run_at == found


def test_a_limited_time_does_not_move_when_it_is_reported_again() -> None:
    """In one batch, in a later one, and beside a new success whose time is in the future as well."""
    told = status_of(at=NOW + 1e6, run=None)
    first, again = (delivery_of(report_of(n, told), at=NOW + n) for n in (1, 2))
    plan = accept.plan([first, again], NOTHING)
    assert plan.states["w1", "debian"][1].last_success_at == NOW + 1
    newer = told._replace(last_success_at=NOW + 2e6)
    later = [delivery_of(report_of(n, told), at=NOW + 5000 * n) for n, told in ((1, told), (2, newer))]
    kept = BatchContext({}, {}, earlier=clocks.Earlier(plan.limited, {}))
    for deliveries, success in ((later[:1], NOW + 1), (later, NOW + 10_000)):
        plan = accept.plan(deliveries, kept)
        _, status = plan.states["w1", "debian"]
        assert (status.last_success_at, status.last_ended_at) == (success, NOW + 1)
    assert {key[2] for key in plan.limited} == {"last_success_at"}, "what did not change is not written again"
    assert plan.clocks == {"w1": (2e6 - 10_000, NOW + 10_000)}


@pytest.mark.parametrize(("skew", "found"), [(601.0, 601.0), (-7200.0, -7200.0), (600.0, None), (-600.0, None)])
def test_a_clock_is_compared_with_every_envelope(skew: float, found: float | None) -> None:
    plan = accept.plan([delivery_of(sent_at=NOW + skew)], NOTHING)
    assert plan.clocks.get("w1", (None, NOW)) == (found, NOW)


def test_a_worker_of_tunasync_has_no_clock_skew() -> None:
    told = status_of(at=NOW + 1e6)
    plan = accept.plan([delivery_of(report_of(1, told), journal=TUNASYNC)], NOTHING)
    assert (plan.states["w1", "debian"], plan.clocks) == ((TUNASYNC, told), {})


def test_small_clock_differences_and_past_times_are_not_limited() -> None:
    for at in (NOW - 1e6, NOW + SLACK):
        told = status_of(at=at)
        assert accept.plan([delivery_of(report_of(1, told))], NOTHING).states == {("w1", "debian"): (JOURNAL, told)}
