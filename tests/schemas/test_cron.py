"""Cron schedules: the times of an expression, also at changes to and from daylight saving time."""

import itertools
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from schemas.clock import cron
from schemas.clock.cron import longest_gap, next_time, why_wrong

from .kit import at

BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"
HOUR = 3600
DAY = 24 * HOUR


def shown(zone: str, moment: float | None) -> str:
    assert moment is not None
    return datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%m-%d %H:%M%z")


def times(expression: str, zone: str, after: str, count: int) -> list[str]:
    found, moment = [], at(zone, after)
    for _ in range(count):
        following = next_time(expression, zone, moment)
        assert following is not None and following > moment
        moment = following
        found.append(shown(zone, moment))
    return found


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 4 * * *", ["03-10 04:30+0100", "03-11 04:30+0100"]),
        ("0 */8 * * *", ["03-09 16:00+0100", "03-10 00:00+0100"]),
        ("0 3 * * sat,sun", ["03-14 03:00+0100", "03-15 03:00+0100"]),
        ("15 6 1 * *", ["04-01 06:15+0200", "05-01 06:15+0200"]),
        ("0 0 1,15 * mon", ["03-15 00:00+0100", "03-16 00:00+0100"]),
    ],
)
def test_an_expression_names_moments_of_the_zones_clock(expression: str, expected: list[str]) -> None:
    assert times(expression, BERLIN, "2026-03-09T12:00", 2) == expected


def test_a_moment_itself_is_not_the_next_one() -> None:
    noon = at(BERLIN, "2026-03-09T12:00")
    assert next_time("0 12 * * *", BERLIN, noon - 0.001) == noon
    assert next_time("0 12 * * *", BERLIN, noon) == noon + DAY


@pytest.mark.parametrize(
    ("zone", "day", "offset"), [(BERLIN, "2026-03-29", "+0200"), (NEW_YORK, "2026-03-08", "-0400")]
)
def test_a_time_that_clocks_jump_over_comes_once_when_they_do(zone: str, day: str, offset: str) -> None:
    found = times("30 2 * * *", zone, f"{day}T00:00", 2)

    assert found[0] == f"{day[5:]} 03:00{offset}"
    assert found[1].endswith(f"02:30{offset}")


@pytest.mark.parametrize(
    ("zone", "day", "offset"), [(BERLIN, "2026-10-25", "+0200"), (NEW_YORK, "2026-11-01", "-0400")]
)
def test_a_time_that_clocks_show_twice_comes_once(zone: str, day: str, offset: str) -> None:
    hour = "02" if zone == BERLIN else "01"
    expression = f"30 {int(hour)} * * *"

    found = times(expression, zone, f"{day}T00:00", 2)

    assert found[0] == f"{day[5:]} {hour}:30{offset}"
    assert found[1][:5] > found[0][:5], "not again in the second hour"


@pytest.mark.parametrize("seconds", range(0, 2 * HOUR, 300))
@pytest.mark.parametrize("expression", ["30 2 * * *", "0 3 * * *", "*/10 2 * * *", "15 * * * *"])
def test_no_past_time_is_found_when_clocks_are_put_back(expression: str, seconds: int) -> None:
    cron._known.cache_clear()  # otherwise the cached time of an earlier moment would be returned
    moment = at(BERLIN, "2026-10-25T02:00") + seconds

    following = next_time(expression, BERLIN, moment)

    assert following is not None and following > moment


def test_an_hourly_schedule_continues_through_both_clock_changes() -> None:
    for day in ("2026-03-29", "2026-10-25"):
        moments = [at(BERLIN, f"{day}T00:00")]
        for _ in range(6):
            moments.append(next_time("0 * * * *", BERLIN, moments[-1]) or 0)
        assert {later - earlier for earlier, later in itertools.pairwise(moments)} == {HOUR}


def test_results_do_not_depend_on_earlier_calls() -> None:
    start = at(BERLIN, "2026-06-01T00:00")
    asked = [start + 7919 * number for number in (3, 50, 2, 49, 51, 400, 1, 48, 0, 399, 1.3)]
    expected = {
        moment: min(t for day in range(400) if (t := start + 4 * HOUR + day * DAY) > moment) for moment in asked
    }

    assert {moment: next_time("0 4 * * *", BERLIN, moment) for moment in asked} == expected


def test_the_same_question_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[float] = []
    compute = cron._next_time

    def counted(expression: str, zone: str, after: float) -> float | None:
        computed.append(after)
        return compute(expression, zone, after)

    monkeypatch.setattr(cron, "_next_time", counted)
    start = at(BERLIN, "2027-06-01T00:00")
    later = start + 7 * DAY
    assert len({next_time("7 4 * * *", BERLIN, moment) for moment in (start, start, start + HOUR)}) == 1
    assert computed == [start]
    for moment in (later, start, later, later - HOUR, later - HOUR):
        next_time("7 4 * * *", BERLIN, moment)
    assert computed == [start, later, later - HOUR]
    assert [len(each) for each in cron._known("7 4 * * *", BERLIN)] == [2, 2]


def test_the_cache_of_an_expression_is_bounded() -> None:
    start = at("UTC", "2028-02-01T00:00")
    lengths = []
    for minute in range(2500):
        assert next_time("* * * * *", "UTC", start + 60 * minute) == start + 60 * (minute + 1)
        lengths += [[len(each) for each in cron._known("* * * * *", "UTC")]]
    assert lengths == [[minute % 1000 + 1] * 2 for minute in range(2500)]


def test_an_expression_that_never_matches_has_no_next_time_and_the_least_gap() -> None:
    never = "0 0 */30 2 mon#5"  # the 1st or 31st of February, and at the same time its fifth Monday
    assert why_wrong(never) == "never matches a time"
    assert [next_time(never, BERLIN, moment) for moment in (0.0, 0.0, 1.0)] == [None, None, None]
    assert longest_gap(never) == cron.GAP


@pytest.mark.parametrize(
    "expression", ["30 4 * * *", "*/5 1-3 * jan-mar mon-fri", "0 0 L * *", "0 0 29 2 *", "0 0 * * 7"]
)
def test_valid_expressions_are_accepted(expression: str) -> None:
    assert why_wrong(expression) is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("30 4 * *", "has 4 fields, not 5"),
        ("0 30 4 * * *", "has 6 fields, not 5"),
        ("60 4 * * *", "is not a valid cron expression: bad minute"),
        ("0 24 * * *", "is not a valid cron expression: bad hour"),
        ("0 0 * * mox", "is not a valid cron expression: bad day-of-week"),
        ("0 0 31 2 *", "is not a valid cron expression: bad day-of-month"),
        ("0 0 31 2,4 *", "is not a valid cron expression: bad day-of-month"),
        ("0 0 * 2 mon#6", "is not a valid cron expression: bad day-of-week"),
        ("0 0 1-7 * *\x00", "is not a valid cron expression: bad day-of-week"),
    ],
)
def test_invalid_expressions_are_reported(expression: str, words: str) -> None:
    assert why_wrong(expression) == words


@pytest.mark.parametrize(
    ("expression", "hours"),
    [("* * * * *", 8), ("0 */12 * * *", 12), ("0 4 * * *", 24), ("0 3 * * mon-fri", 72), ("*/5 8-18 * * mon-fri", 61),
     ("0 0 1 * *", 744), ("0 0 29 2 *", 4 * 8766)],
)  # fmt: skip
def test_the_longest_gap_between_two_moments(expression: str, hours: int) -> None:
    assert int(longest_gap(expression) / HOUR) == pytest.approx(hours, abs=24 if hours > 1000 else 0)


@pytest.mark.parametrize(("expression", "seconds"), [("* * * * *", 8 * HOUR), ("0 0 1 1 *", 366 * DAY)])
def test_the_longest_gap_is_exact_and_includes_a_leap_year(expression: str, seconds: int) -> None:
    assert longest_gap(expression) == seconds


def test_a_longer_gap_in_the_year_after_the_first_time_does_not_count() -> None:
    """The year is from Sunday, 2026-03-01, to 2027-03-02. From 2027-03-28 to 2028-03-02, 340 days pass."""
    assert longest_gap("0 0 2,20,27 3 sun") == 338 * DAY
