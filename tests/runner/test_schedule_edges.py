"""What is due, at the edges: overlong rows of failures, wrong clocks, windows that never open, held workers."""

import itertools
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.plan import plan, schedule
from runner.plan.plan import Due, Header
from runner.plan.schedule import (
    CLOSED,
    DUE,
    LATER,
    RUNNING,
    OperatorRequest,
    Outlook,
    Rules,
    State,
    World,
    due_at,
    next_run_at,
    outlook,
    retry_at,
)
from schemas.records import SyncWindows
from schemas.states import FAILED, INTERRUPTED, LAUNCH_FAILED, QUEUED, REFUSED, SUCCESS, SYNCING

NOW = 1_800_000_000.0
"""A Friday, 2027-01-15, 08:00 UTC."""

MINUTE, HOUR, DAY = 60, 3600, 86400
RULES = Rules("w1", 4)
A = Due("a", HOUR)
DAILY = A._replace(cron="0 6 * * *")
NEVER = A._replace(cron="0 0 */30 2 mon#5")
"""Its expression matches no day."""

CLOSED_ALWAYS = SyncWindows(forbidden=("00:00-24:00",), stop_running=True)


def world(
    states: Mapping[str, State], requests: Mapping[str, OperatorRequest] | None = None, rules: Rules = RULES
) -> World:
    return World(rules, states, requests or {}, frozenset({"a", "b"}))


def seen(mirror: Due, state: State | None, request: OperatorRequest | None = None) -> Outlook:
    return outlook(mirror, world({"a": state} if state else {}, {"a": request} if request else {}), NOW)


def due(mirror: Due, state: State) -> float:
    return due_at(mirror, state, RULES, NOW) - NOW


def failed(failures: int, unreached: int = 0, status: str = FAILED) -> State:
    return State(status, NOW - 10, NOW, failures=failures, unreached=unreached)


# Failures


@pytest.mark.parametrize("failures", [21, 22, 1000])
def test_a_row_of_failures_doubles_the_interval_no_more_than_twenty_times(failures: int) -> None:
    assert due(Due("a", MINUTE, backoff_limit=10**12), failed(failures)) == MINUTE * 2**20


def test_the_delay_after_an_interruption_does_not_grow_with_failures_before_it() -> None:
    assert due(A, failed(5, status=INTERRUPTED)) == MINUTE
    assert due(A, failed(5, status=LAUNCH_FAILED)) == 16 * MINUTE


def test_the_interval_does_not_matter_beside_cron() -> None:
    short = Due("a", 30, cron="0 6 * * *", retry_after_failure=10 * MINUTE)
    assert due(short, failed(1, status=INTERRUPTED)) == MINUTE
    assert due(short, failed(1, unreached=1)) == 10 * MINUTE


def test_early_runs_do_not_count_as_failures_however_short_the_pause_before_them() -> None:
    """Twelve of the thirteen pauses, from 1 s to 2048 s, were shorter than the interval."""
    assert due(Due("a", HOUR, retry_after_failure=1), failed(1, unreached=13)) == HOUR


def test_a_mirror_is_due_at_the_very_moment_of_its_time() -> None:
    assert seen(A, State(SUCCESS, NOW - HOUR, NOW - HOUR)) == Outlook(DUE, NOW)


def test_an_active_run_that_waits_for_its_next_attempt_shows_when_that_is() -> None:
    assert seen(A, State(SYNCING, NOW - HOUR, next_attempt_at=NOW + 5)) == Outlook(RUNNING, NOW + 5)
    assert seen(A, State(SYNCING, NOW - HOUR)) == Outlook(RUNNING, NOW - HOUR)


def test_a_mirror_whose_first_run_is_active_has_no_earlier_retry() -> None:
    assert retry_at(A._replace(retry_after_failure=MINUTE), State(SYNCING, unreached=2), RULES) == float("inf")


# Clocks


def test_a_start_after_the_end_was_recorded_by_a_wrong_clock_and_the_end_counts() -> None:
    assert due(DAILY, State(SUCCESS, NOW - MINUTE, NOW - DAY)) == -2 * HOUR


def test_cron_counts_from_the_start_of_the_last_run() -> None:
    """A time of the expression during the run is due as soon as it is over."""
    assert due(DAILY, State(SUCCESS, NOW - 3 * HOUR, NOW - HOUR)) == -2 * HOUR


def test_a_requested_mirror_is_as_overdue_as_the_earliest_of_its_times() -> None:
    def at(made_at: float, ended: float) -> float | None:
        return seen(A, State(SUCCESS, ended, ended), OperatorRequest(requested=True, made_at=made_at)).at

    assert at(NOW - 5, NOW - 9 * HOUR) == NOW - 8 * HOUR
    assert at(NOW - 5, NOW) == NOW - 5
    assert at(NOW + DAY, NOW) == NOW, "a request in the future was made by a wrong clock"


def test_a_success_at_the_moment_of_the_last_start_is_not_after_it() -> None:
    mirror = Due("b", HOUR, after=("a",))
    states = {
        "a": State(SUCCESS, NOW - DAY, NOW - HOUR, NOW - 9 * HOUR),
        "b": State(SUCCESS, NOW - 9 * HOUR, NOW - DAY),
    }
    assert outlook(mirror, world(states), NOW).mirrors == ("a",)


def test_the_jitter_of_cron_is_not_limited_by_an_interval() -> None:
    ended = State(SUCCESS, NOW, NOW)
    little, much = (due(DAILY._replace(jitter=seconds), ended) - 22 * HOUR for seconds in (MINUTE, HOUR))
    assert much == pytest.approx(60 * little)


# Windows and times that never come


def test_a_mirror_whose_windows_never_open_waits_without_a_time() -> None:
    never = A._replace(sync_windows=CLOSED_ALWAYS)
    assert seen(never, None) == Outlook(CLOSED, None)
    assert next_run_at(never, State(SUCCESS, NOW, NOW), RULES, NOW) is None
    assert schedule.decide([never], world({"a": State(SYNCING)}), NOW).stop == ["a"]


@pytest.mark.parametrize("windows", [None, SyncWindows(allowed=("22:00-06:00",))])
def test_a_mirror_whose_cron_never_matches_waits_without_a_time(windows: SyncWindows | None) -> None:
    mirror = NEVER._replace(sync_windows=windows, jitter=MINUTE)
    assert seen(mirror, State(SUCCESS, NOW, NOW)) == Outlook(LATER, None)
    assert schedule.decide([mirror], world({"a": State(SUCCESS, NOW, NOW)}), NOW).wake_at is None


# Slots


def test_a_run_whose_next_attempt_is_due_has_the_next_slot() -> None:
    def launched(next_attempt_at: float) -> list[str]:
        states = {"b": State(SYNCING, NOW - HOUR, next_attempt_at=next_attempt_at)}
        return schedule.decide([A], world(states, rules=RULES._replace(slots=1)), NOW).launch

    assert [launched(NOW + seconds) for seconds in (-5, 0, 5)] == [[], [], ["a"]]


def test_only_requested_mirrors_begin_where_only_those_may() -> None:
    mirrors = [Due(name, HOUR) for name in ("asked", "forced", "scheduled")]
    requests = {"asked": OperatorRequest(requested=True), "forced": OperatorRequest(force=True)}

    def launched(*, only_requested: bool) -> tuple[list[str], list[str]]:
        rules = RULES._replace(slots=2)
        decision = schedule.decide(mirrors, world({}, requests, rules), NOW, only_requested=only_requested)
        return decision.launch, decision.wait

    assert launched(only_requested=True) == (["forced", "asked"], [])
    assert launched(only_requested=False) == (["forced", "asked"], ["scheduled"])


def test_on_a_held_worker_no_mirror_begins_or_waits() -> None:
    queued = Due("b", HOUR)
    decision = schedule.decide([A, queued], world({"b": State(QUEUED)}, rules=RULES._replace(held=True)), NOW)
    assert (decision.launch, decision.wait) == ([], [])


def test_a_mirror_whose_reports_lack_its_next_run_or_have_another_one_gets_the_time_that_it_waits_for() -> None:
    """`known` and `overdue` have the right one; `faster` and `cron` have another schedule now, or never ran."""
    opens_later = SyncWindows(allowed=("10:00-11:00",))
    mirrors = [
        Due("due", HOUR),
        Due("after", HOUR, after=("b",)),
        Due("later", DAY),
        Due("closed", HOUR, sync_windows=opens_later),
        Due("never", HOUR, sync_windows=CLOSED_ALWAYS),
        Due("paused", HOUR),
        Due("queued", HOUR),
        Due("known", DAY),
        Due("slower", DAY),
        Due("overdue", HOUR),
        Due("faster", HOUR),
        Due("cron", HOUR, cron="30 * * * *", since=NOW),
    ]
    ended = State(SUCCESS, NOW - 2 * HOUR, NOW - 2 * HOUR)
    states = {mirror.name: ended for mirror in mirrors if mirror.name != "cron"}
    states |= {"b": State(SYNCING, NOW - HOUR), "queued": ended._replace(status=QUEUED)}
    states["known"] = ended._replace(next_run_at=NOW + 22 * HOUR + 0.5)
    states["slower"] = states["faster"] = ended._replace(next_run_at=NOW + 5)
    states["overdue"] = ended._replace(next_run_at=NOW - 5)
    requests = {"paused": OperatorRequest("paused")}
    rules = RULES._replace(time_zone="UTC")

    def found(*, held: bool) -> dict[str, float]:
        return schedule.decide(mirrors, world(states, requests, rules._replace(held=held)), NOW).next_runs

    assert found(held=True) == {}
    assert found(held=False) == {
        "due": NOW, "after": NOW, "later": NOW + 22 * HOUR, "closed": NOW + 2 * HOUR, "slower": NOW + 22 * HOUR,
        "faster": NOW, "cron": NOW + HOUR / 2,
    }  # fmt: skip


@pytest.mark.parametrize("status", [SUCCESS, FAILED, REFUSED])
def test_the_next_run_that_the_end_of_a_run_reported_is_not_reported_again(status: str) -> None:
    rules = RULES._replace(time_zone="Europe/Berlin", sync_windows=SyncWindows(allowed=("22:00-09:00",)))
    for interval, cron, unreached in itertools.product((HOUR, 6 * HOUR, DAY), ("", "*/7 3-9 * * *"), (0, 1, 3)):
        mirror = Due("a", interval, cron=cron, jitter=600, retry_after_failure=600)
        ended = State(status, NOW - 90, NOW, failures=2, unreached=unreached)
        at = schedule.next_run_at(mirror, ended, rules, NOW)
        assert at is not None
        states = {"a": ended._replace(next_run_at=at)}
        for now in (NOW + 1, (NOW + at) / 2, at - 1, at + 1):
            assert schedule.decide([mirror], world(states, rules=rules), now).next_runs == {}, (mirror, now - at)


def test_a_world_has_the_facts_of_the_plan_and_the_journal(tmp_path: Path) -> None:
    """Only problems of single mirrors make one unusable."""
    problems = (
        ("bad", "bad.yml:1:1", "It is wrong.", "Correct it."),
        (None, "_site.yml", "It is wrong.", "Correct it."),
    )
    header = Header("w1", 3, "c", "c", "f", str(tmp_path), problems=problems)
    states, requests = {"a": State(SUCCESS)}, {"a": OperatorRequest("paused")}
    plan.write(str(tmp_path / "plan"), header, [])
    with plan.opened(str(tmp_path / "plan")) as opened:
        for held in (False, True):
            mirrors, found = schedule.world(opened, states, requests, held=held)
            assert mirrors == []
            assert found.rules == Rules("w1", 3, header.time_zone, None, frozenset({"bad"}), held)
            assert (found.states, found.operator_requests, found.names) == (states, requests, frozenset())
