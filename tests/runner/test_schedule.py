"""What is due: a pure function."""

from collections.abc import Mapping

import pytest

from runner.plan.plan import Due
from runner.plan.schedule import (
    AFTER,
    CLOSED,
    DUE,
    HELD,
    LATER,
    RECOVERY_DELAY,
    RUNNING,
    Decision,
    OperatorRequest,
    Rules,
    State,
    World,
    count_failures,
    due_at,
    next_run_at,
    outlook,
)
from runner.plan.schedule import decide as decide_in
from schemas.records import SyncWindows
from schemas.states import (
    FAILED,
    INTERRUPTED,
    LAUNCH_FAILED,
    LAUNCHING,
    QUEUED,
    REFUSED,
    STOPPED,
    SUCCESS,
    SYNCING,
    TIMED_OUT,
)

NOW = 1_800_000_000.0
"""A Friday, 2027-01-15, 08:00 UTC."""

HOUR = 3600
DAY = 24 * HOUR
RULES = Rules("w1", 4)


def ended(ago: float, status: str = SUCCESS, failures: int = 0) -> State:
    return State(status, NOW - ago - 10, NOW - ago, failures=failures)


def world(
    mirrors: list[Due],
    states: Mapping[str, State],
    requests: Mapping[str, OperatorRequest] | None = None,
    rules: Rules = RULES,
) -> World:
    return World(rules, states, requests or {}, frozenset(mirror.name for mirror in mirrors))


def decide(
    mirrors: list[Due],
    states: Mapping[str, State],
    slots: int = 4,
    requests: Mapping[str, OperatorRequest] | None = None,
    rules: Rules = RULES,
    now: float = NOW,
) -> Decision:
    return decide_in(mirrors, world(mirrors, states, requests, rules._replace(slots=slots)), now)


def due(mirror: Due, state: State | None, now: float = NOW) -> float:
    return due_at(mirror, state, RULES, now)


def kind(mirror: Due, state: State | None, order: OperatorRequest | None = None, rules: Rules = RULES) -> str:
    states = {mirror.name: state} if state else {}
    requests = {mirror.name: order} if order else {}
    return outlook(mirror, world([mirror], states, requests, rules), NOW).kind


A = Due("a", HOUR)


def test_a_mirror_that_never_ran_is_due_without_jitter() -> None:
    eager = Due("a", HOUR, jitter=60)
    assert due(eager, None) <= NOW
    assert due(eager, State(QUEUED)) <= NOW


YEARLY = Due("a", HOUR, cron="0 0 1 3 *", since=NOW - HOUR)
MARCH = 1_803_859_200.0
"""2027-03-01, 00:00 UTC."""


def test_a_mirror_that_never_ran_waits_for_the_first_of_its_fixed_times() -> None:
    assert due(YEARLY, None) == due(YEARLY, State("none")) == MARCH
    assert due(YEARLY, None, now=MARCH + DAY) == MARCH, "a time that was missed is made up for"
    assert MARCH < due(YEARLY._replace(jitter=60), None) < MARCH + 60
    assert kind(YEARLY, None) == LATER
    assert kind(YEARLY, None, OperatorRequest(requested=True)) == DUE
    assert kind(YEARLY, State(QUEUED)) == DUE, "it waited for a slot already"


def test_times_from_before_a_mirror_had_them_do_not_count() -> None:
    yesterday = State(SUCCESS, NOW - DAY - 60, NOW - DAY)
    daily = Due("a", HOUR, cron="0 6 * * *")
    assert due(daily, yesterday) == NOW - 2 * HOUR
    assert due(daily._replace(since=NOW - HOUR), yesterday) == NOW + 22 * HOUR


def test_times_since_a_moment_in_the_future_do_not_wait_for_the_clock() -> None:
    later = YEARLY._replace(since=NOW + 400 * DAY)
    assert due(later, None) <= NOW
    assert due(later, ended(DAY)) == MARCH


def test_times_in_the_future_count_up_to_the_recovery_delay() -> None:
    near = NOW + RECOVERY_DELAY

    assert due(A, State(SUCCESS, near - 10, near)) == near + HOUR
    assert due(YEARLY._replace(since=near), None) > NOW
    states = {"a": State(SUCCESS, NOW - 7000, NOW - HOUR, NOW - HOUR), "b": State(SUCCESS, near, NOW - DAY, NOW - DAY)}
    assert outlook(B, world([A, B], states), NOW).kind == AFTER, "the success is older than the last start"


def test_of_two_requested_mirrors_the_earlier_request_gets_the_slot() -> None:
    mirrors = [A, A._replace(name="b")]
    asked = {name: OperatorRequest(requested=True, made_at=NOW - ago) for name, ago in (("a", 1), ("b", 100))}

    decision = decide(mirrors, {name: ended(60) for name in asked}, slots=1, requests=asked)

    assert (decision.launch, decision.wait) == (["b"], ["a"])


def test_a_run_is_not_stopped_at_the_moment_when_its_window_opens() -> None:
    mirror, opens = A._replace(sync_windows=STOPPING), NOW + 12 * HOUR

    assert decide([mirror], {"a": State(SYNCING, opens - HOUR)}, now=opens - 1).stop == ["a"]
    assert decide([mirror], {"a": State(SYNCING, opens - HOUR)}, now=opens).stop == []


def test_a_run_that_is_being_started_does_not_show_when_the_one_before_began() -> None:
    for status, since in ((LAUNCHING, None), (SYNCING, NOW - HOUR)):
        found = outlook(A, world([A], {"a": State(status, NOW - HOUR)}), NOW)
        assert (found.kind, found.at) == (RUNNING, since)


def test_the_interval_counts_from_the_end_of_the_last_run_whatever_its_end() -> None:
    for status in (SUCCESS, FAILED):
        assert due(A, ended(HOUR - 1, status)) == NOW + 1
        assert due(A, ended(HOUR, status)) == NOW


def test_an_interrupted_run_is_tried_again_soon_but_not_at_once() -> None:
    for status in (INTERRUPTED, STOPPED, LAUNCH_FAILED):
        assert due(A, ended(0, status)) == NOW + RECOVERY_DELAY
        assert due(Due("a", 5), ended(0, status)) == NOW + 5
        assert due(Due("a", HOUR, cron="0 0 1 1 *"), ended(0, status)) == NOW + RECOVERY_DELAY


def test_a_mirror_that_cannot_be_launched_is_tried_less_and_less_often() -> None:
    waits = [due(A, ended(0, LAUNCH_FAILED, failures)) - NOW for failures in (1, 2, 3, 4, 500)]

    assert waits == [60, 120, 240, 480, DAY]


@pytest.mark.parametrize("mirror", [A, Due("a", HOUR, cron="0 0 1 1 *")])
def test_an_end_in_the_future_makes_due_instead_of_waiting_for_the_clock(mirror: Due) -> None:
    assert due(mirror, ended(-DAY)) <= NOW


def test_failures_double_the_wait_up_to_a_limit() -> None:
    def waits(mirror: Due) -> list[float]:
        return [due(mirror, ended(0, FAILED, number)) - NOW for number in (1, 2, 3, 4, 5, 400)]

    assert waits(A) == [HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 8 * HOUR, 8 * HOUR]
    assert waits(Due("a", 6 * HOUR)) == [6 * HOUR, 12 * HOUR, DAY, DAY, DAY, DAY]
    assert waits(Due("a", 2 * DAY)) == [2 * DAY] * 6
    assert waits(Due("a", HOUR, backoff_limit=3 * HOUR)) == [HOUR, 2 * HOUR, *[3 * HOUR] * 4]
    assert waits(Due("a", HOUR, backoff_limit=60)) == [HOUR] * 6


def test_failures_change_nothing_about_fixed_times() -> None:
    daily = Due("a", HOUR, cron="0 12 * * *")
    assert {due(daily, ended(0, FAILED, failures)) for failures in (0, 1, 9)} == {NOW + 4 * HOUR}


def test_only_failures_count_and_only_a_success_ends_their_row() -> None:
    count = State("none")
    for status in (FAILED, INTERRUPTED, TIMED_OUT, STOPPED, REFUSED, LAUNCH_FAILED):
        count = count_failures(count, status)
    assert count.failures == 4
    assert count_failures(count, SUCCESS).failures == 0


def test_jitter_is_always_the_same_for_a_mirror_and_never_more_than_a_tenth_of_the_interval() -> None:
    late = [due(Due(f"m{n}", HOUR, jitter=DAY), ended(0)) - NOW - HOUR for n in range(1000)]
    assert late == [due(Due(f"m{n}", HOUR, jitter=DAY), ended(0)) - NOW - HOUR for n in range(1000)]
    assert 0 <= min(late) < 10 and 350 < max(late) < 360
    tenths = [sum(part <= each / 36 < part + 1 for each in late) for part in range(10)]
    assert min(tenths) > 60, "spread evenly"
    assert max(due(Due(f"m{n}", HOUR, jitter=60), ended(0)) - NOW - HOUR for n in range(1000)) < 60


def test_another_worker_has_another_jitter() -> None:
    mirror = Due("a", HOUR, jitter=60)
    assert due_at(mirror, ended(0), Rules("w1"), NOW) != due_at(mirror, ended(0), Rules("w2"), NOW)


def test_recovery_and_fixed_times_have_jitter_as_well() -> None:
    mirrors = [Due(f"m{n}", HOUR, jitter=100) for n in range(200)]
    recovered = {due(mirror, ended(0, INTERRUPTED)) - NOW - RECOVERY_DELAY for mirror in mirrors}
    assert len(recovered) == 200 and min(recovered) >= 0 and 90 < max(recovered) < 100
    fixed = {due(mirror._replace(cron="0 12 * * *"), ended(0)) - NOW - 4 * HOUR for mirror in mirrors}
    assert fixed == recovered


def test_the_most_overdue_get_the_free_slots_and_the_others_wait() -> None:
    mirrors = [Due(name, HOUR) for name in ("a", "b", "c", "d")]
    states = {"a": ended(2 * HOUR), "b": ended(5 * HOUR), "c": State(SYNCING), "d": ended(3 * HOUR)}

    decision = decide(mirrors, states, 2)

    assert (decision.launch, decision.wait) == (["b"], ["d", "a"])


def test_never_more_runs_than_slots_even_with_runs_of_removed_mirrors() -> None:
    states = {"gone": State(SYNCING), "gone too": State(SYNCING), "gone three": State(SYNCING)}

    assert decide([A], states, 2).launch == []


def test_many_due_mirrors_fill_all_slots_in_one_tick() -> None:
    decision = decide([Due(f"m{n}", HOUR) for n in range(500)], {}, 40)

    assert (len(decision.launch), len(decision.wait)) == (40, 460)


def test_the_next_moment_is_the_earliest_of_those_that_are_not_due() -> None:
    mirrors = [Due("a", HOUR), Due("b", 2 * HOUR), Due("due", 1)]
    states = {"a": ended(10), "b": ended(10), "due": ended(10)}

    assert decide(mirrors, states).wake_at == NOW - 10 + HOUR
    assert decide([Due("due", 1)], states).wake_at is None


def test_a_queued_mirror_is_started_though_its_interval_is_not_over() -> None:
    assert decide([A], {"a": State(QUEUED, last_ended_at=NOW - 1)}, 1).launch == ["a"]


# After others

B = Due("b", HOUR, after=("a",))
OLD = State(SUCCESS, NOW - 3 * HOUR, NOW - 3 * HOUR + 60, NOW - 3 * HOUR + 60)


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        (None, None, AFTER),
        (State(FAILED, NOW - 50, NOW - 40), None, AFTER),
        (State(SUCCESS, NOW - 50, NOW - 40, NOW - 40), None, DUE),
        (State(SUCCESS, NOW - 9 * HOUR, NOW - 8 * HOUR, NOW - 8 * HOUR), OLD, AFTER),
        (State(SUCCESS, NOW - 9 * HOUR, NOW - HOUR, NOW - HOUR), OLD, DUE),
        (State(FAILED, NOW - 50, NOW - 40, NOW - HOUR), OLD, DUE),
        (State(SYNCING, NOW - 50, NOW - 2 * HOUR, NOW - 2 * HOUR), OLD, AFTER),
        (State(LAUNCHING, NOW - 50, NOW - 2 * HOUR, NOW - 2 * HOUR), OLD, AFTER),
    ],
)
def test_a_mirror_waits_for_a_success_of_those_before_it_and_for_their_rest(
    first: State | None, then: State | None, expected: str
) -> None:
    states = {name: state for name, state in (("a", first), ("b", then)) if state}
    found = outlook(B, world([A, B], states), NOW)

    assert found.kind == expected
    assert found.mirrors == (("a",) if expected == AFTER else ())


def test_a_success_before_a_clock_was_set_back_counts() -> None:
    future = State(SUCCESS, NOW + DAY, NOW + DAY + 60, NOW + DAY + 60)
    assert outlook(B, world([A, B], {"a": OLD, "b": future}), NOW).kind == DUE


def test_no_mirror_waits_for_a_removed_one_but_for_one_that_is_not_usable_yet() -> None:
    assert outlook(B, world([B], {}), NOW).kind == DUE
    assert outlook(B, world([B], {}, rules=RULES._replace(unusable=frozenset({"a"}))), NOW).kind == AFTER


def test_a_mirror_does_not_begin_together_with_one_before_it() -> None:
    states = {"a": State(SUCCESS, NOW - 5 * HOUR, NOW - 4 * HOUR, NOW - 2 * HOUR), "b": OLD}

    decision = decide([A, B], states)

    assert (decision.launch, decision.wait) == (["a"], [])


# Hours

NIGHT = SyncWindows(allowed=("22:00-06:00",))
MORNING = SyncWindows(allowed=("07:00-12:00",))
STOPPING = SyncWindows(forbidden=("08:00-20:00",), stop_running=True)


@pytest.mark.parametrize(
    ("own", "workers", "opens_in"),
    [
        (NIGHT, None, 14 * HOUR),
        (None, NIGHT, 14 * HOUR),
        (MORNING, None, 0),
        (MORNING, SyncWindows(allowed=("09:00-11:00",)), HOUR),
        (SyncWindows(forbidden=("fri 00:00-24:00",)), MORNING, 23 * HOUR),
    ],
)
def test_the_sync_windows_of_mirror_and_worker_must_both_allow_a_start(
    own: SyncWindows | None, workers: SyncWindows | None, opens_in: int
) -> None:
    mirror, rules = A._replace(sync_windows=own), RULES._replace(sync_windows=workers)
    decision = decide([mirror], {}, rules=rules)

    assert decision.launch == ([] if opens_in else ["a"])
    assert decision.wake_at == (NOW + opens_in if opens_in else None)
    assert kind(mirror, None, rules=rules) == (CLOSED if opens_in else DUE)
    assert next_run_at(mirror, ended(2 * HOUR), rules, NOW) == NOW + opens_in


def test_a_mirror_that_becomes_due_outside_its_window_is_examined_when_it_opens() -> None:
    found = outlook(A._replace(sync_windows=NIGHT), world([A], {"a": ended(0)}), NOW)

    assert (found.kind, found.at) == (LATER, NOW + 14 * HOUR)


def test_a_run_is_stopped_at_the_end_of_its_window_only_if_configured() -> None:
    for windows, stop in ((STOPPING, ["a"]), (STOPPING._replace(stop_running=False), [])):
        mirror = A._replace(sync_windows=windows)
        assert decide([mirror], {"a": State(SYNCING)}).stop == stop
        assert decide([A], {"a": State(SYNCING)}, rules=RULES._replace(sync_windows=windows)).stop == stop


def test_the_moment_at_which_a_run_must_end_is_foreseen() -> None:
    mirror = A._replace(sync_windows=STOPPING)
    decision = decide([mirror], {"a": State(SYNCING)}, now=NOW - HOUR)

    assert (decision.stop, decision.wake_at) == ([], NOW)


def test_a_forced_run_continues_after_its_window_closes() -> None:
    assert decide([A._replace(sync_windows=STOPPING)], {"a": State(SYNCING, forced=True)}).stop == []


def test_a_run_stopped_by_its_window_is_due_when_it_opens_again_and_has_not_failed() -> None:
    cut_off = State(INTERRUPTED, NOW - 100, NOW, failures=count_failures(State("none"), INTERRUPTED).failures)
    found = outlook(A._replace(sync_windows=STOPPING), world([A], {"a": cut_off}), NOW + 1)

    assert (found.kind, found.at, cut_off.failures) == (LATER, NOW + 12 * HOUR, 0)


# Orders


@pytest.mark.parametrize("override", ["paused", "disabled"])
def test_a_paused_or_disabled_mirror_never_begins_by_itself(override: str) -> None:
    decision = decide([A], {"a": ended(9 * HOUR)}, requests={"a": OperatorRequest(override)})

    assert decision == Decision([], [], None, [], {})
    assert kind(A, None, OperatorRequest(override)) == HELD


def test_a_requested_start_waits_only_for_the_rest_after_a_run_the_window_and_a_slot() -> None:
    order = OperatorRequest(requested=True, made_at=NOW - 5)
    states = {"a": ended(60), "b": ended(9 * HOUR)}

    assert kind(A, ended(60, FAILED, 5), order) == DUE
    assert kind(A._replace(sync_windows=NIGHT), ended(60), order) == CLOSED
    assert outlook(B, world([A, B], {}, {"b": order}), NOW).kind == DUE
    assert outlook(B, world([A, B], {"a": State(SYNCING)}, {"b": order}), NOW).kind == AFTER
    decision = decide([A, Due("b", HOUR)], states, 1, {"a": order})
    assert (decision.launch, decision.wait) == (["a"], ["b"])
    assert kind(A, State(SYNCING), order) == RUNNING


def test_a_forced_start_waits_for_nothing_and_takes_no_slot_from_others_afterwards() -> None:
    order = OperatorRequest(requested=True, force=True)
    mirrors = [A._replace(sync_windows=NIGHT), Due("b", HOUR), Due("c", HOUR)]
    full = {"b": State(SYNCING), "c": State(SYNCING)}

    assert decide(mirrors, full, 2, {"a": order}).launch == ["a"]
    beyond = {"a": State(SYNCING, forced=True), "b": State(SYNCING), "c": ended(9 * HOUR)}
    assert decide(mirrors, beyond, 2).launch == []
