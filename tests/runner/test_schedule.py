"""What is due: a pure function."""

from runner.plan import Due
from runner.schedule import RECOVERY_DELAY, State, decide, due_at
from schemas.states import FAILED, INTERRUPTED, LAUNCH_FAILED, QUEUED, SUCCESS, SYNCING

NOW = 1_800_000_000.0
HOUR = 3600


def ended(ago: float, status: str = SUCCESS) -> State:
    return State(status, last_ended_at=NOW - ago)


def test_a_mirror_that_never_ran_is_due() -> None:
    assert due_at(HOUR, None, NOW) <= NOW
    assert due_at(HOUR, State(QUEUED), NOW) <= NOW


def test_the_interval_counts_from_the_end_of_the_last_run_whatever_its_end() -> None:
    for status in (SUCCESS, FAILED):
        assert due_at(HOUR, ended(HOUR - 1, status), NOW) == NOW + 1
        assert due_at(HOUR, ended(HOUR, status), NOW) == NOW


def test_what_was_cut_off_is_tried_again_soon_but_not_at_once() -> None:
    for status in (INTERRUPTED, LAUNCH_FAILED):
        assert due_at(HOUR, ended(0, status), NOW) == NOW + RECOVERY_DELAY
        assert due_at(5, ended(0, status), NOW) == NOW + 5


def test_an_end_in_the_future_makes_due_instead_of_waiting_for_the_clock() -> None:
    assert due_at(HOUR, ended(-86400), NOW) <= NOW


def test_the_most_overdue_get_the_free_slots_and_the_others_wait() -> None:
    mirrors = [Due(name, HOUR) for name in ("a", "b", "c", "d")]
    states = {"a": ended(2 * HOUR), "b": ended(5 * HOUR), "c": State(SYNCING), "d": ended(3 * HOUR)}

    decision = decide(mirrors, states, 2, NOW)

    assert (decision.launch, decision.wait) == (["b"], ["d", "a"])


def test_never_more_than_the_slots_even_with_runs_of_mirrors_that_are_gone() -> None:
    states = {"gone": State(SYNCING), "gone too": State(SYNCING), "gone three": State(SYNCING)}

    assert decide([Due("a", HOUR)], states, 2, NOW).launch == []


def test_the_next_moment_is_the_earliest_of_those_that_are_not_due() -> None:
    mirrors = [Due("a", HOUR), Due("b", 2 * HOUR), Due("due", 1)]
    states = {"a": ended(10), "b": ended(10), "due": ended(10)}

    assert decide(mirrors, states, 4, NOW).wake_at == NOW - 10 + HOUR
    assert decide([Due("due", 1)], states, 4, NOW).wake_at is None


def test_a_queued_mirror_is_started_though_its_interval_is_not_over() -> None:
    states = {"a": State(QUEUED, last_ended_at=NOW - 1)}

    assert decide([Due("a", HOUR)], states, 1, NOW).launch == ["a"]
