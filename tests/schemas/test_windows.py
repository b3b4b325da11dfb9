"""Sync windows, by the wall clock."""

from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import pytest

from schemas.clock.windows import Span, never_open, opening
from schemas.records import SyncWindows

from .kit import at

BERLIN, NEW_YORK, SHANGHAI = "Europe/Berlin", "America/New_York", "Asia/Shanghai"


def shown(span: Span | None, zone: str) -> list[str]:
    assert span is not None
    return [datetime.fromtimestamp(moment, ZoneInfo(zone)).strftime("%a %d %H:%M%z") for moment in span]


def is_open(hours: tuple[SyncWindows, ...], zone: str, moment: float) -> bool:
    span = opening(hours, zone, moment)
    return span is not None and span.opens_at <= moment


def edges(zone: str, day: str, window: str) -> list[str]:
    """When a window opens and closes first on a day."""
    return [each[4:] for each in shown(opening((allowed(window),), zone, at(zone, f"{day}T00:30")), zone)]


def allowed(*texts: str) -> SyncWindows:
    return SyncWindows(allowed=texts)


def forbidden(*texts: str) -> SyncWindows:
    return SyncWindows(forbidden=texts)


@pytest.mark.parametrize(
    ("windows", "moment", "open_"),
    [
        (allowed("22:00-06:00"), "2026-06-01T21:59", False),
        (allowed("22:00-06:00"), "2026-06-01T22:00", True),
        (allowed("22:00-06:00"), "2026-06-02T05:59", True),
        (allowed("22:00-06:00"), "2026-06-02T06:00", False),
        (allowed("fri 22:00-06:00"), "2026-06-06T03:00", True),  # begun on Friday
        (allowed("fri 22:00-06:00"), "2026-06-05T03:00", False),  # begun on Thursday
        (allowed("fri-mon 00:00-24:00"), "2026-06-07T12:00", True),
        (allowed("fri-mon 00:00-24:00"), "2026-06-08T12:00", True),
        (allowed("fri-mon 00:00-24:00"), "2026-06-09T00:00", False),
        (allowed("sat,sun 00:00-24:00", "mon 01:00-02:00"), "2026-06-08T01:30", True),
        (allowed("08:00-08:00"), "2026-06-08T07:59", True),
        (forbidden("mon-fri 08:00-18:00"), "2026-06-08T08:00", False),
        (forbidden("mon-fri 08:00-18:00"), "2026-06-08T18:00", True),
        (forbidden("mon-fri 08:00-18:00"), "2026-06-07T12:00", True),
        (SyncWindows(("06:00-20:00",), ("12:00-13:00",)), "2026-06-07T12:30", False),
        (SyncWindows(("06:00-20:00",), ("12:00-13:00",)), "2026-06-07T13:00", True),
    ],
)
@pytest.mark.parametrize("zone", [BERLIN, SHANGHAI, "UTC"])
def test_a_window_opens_by_the_local_clock_of_the_day_on_which_it_begins(
    windows: SyncWindows, moment: str, open_: bool, zone: str
) -> None:
    assert is_open((windows,), zone, at(zone, moment)) is open_


def test_each_name_of_a_day_is_that_day() -> None:
    for number, day in enumerate(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), start=1):
        found = opening((allowed(f"{day} 08:00-09:00"),), BERLIN, at(BERLIN, "2026-06-01T00:00"))
        assert found is not None and found.opens_at == at(BERLIN, f"2026-06-{number:02}T08:00")


def test_windows_apply_in_a_thousand_years_as_today() -> None:
    moment = at(BERLIN, "3026-06-01T12:00")
    assert shown(opening((allowed("22:00-06:00"),), BERLIN, moment), BERLIN) == [
        "Thu 01 22:00+0200",
        "Fri 02 06:00+0200",
    ]
    assert opening((forbidden("00:00-24:00"),), BERLIN, moment) is None


def test_a_window_that_began_two_days_ago_in_utc_is_still_open() -> None:
    evening = at(NEW_YORK, "2026-06-01T20:30")  # in UTC it is the next day
    assert is_open((allowed("22:00-21:00"),), NEW_YORK, evening)


def test_without_windows_a_sync_may_always_start() -> None:
    assert is_open((), "UTC", 0.0)
    assert opening((), "UTC", 0.0) == Span(float("-inf"), float("inf"))
    assert not never_open(())


def test_the_next_span_is_whole_and_without_a_break() -> None:
    week = (allowed("mon-fri 20:00-24:00", "tue-sat 00:00-06:00"),)
    found = opening(week, BERLIN, at(BERLIN, "2026-06-01T12:00"))
    assert shown(found, BERLIN) == ["Mon 01 20:00+0200", "Tue 02 06:00+0200"]

    both = (allowed("22:00-06:00"), forbidden("00:00-05:00"))
    assert shown(opening(both, BERLIN, at(BERLIN, "2026-06-01T23:59")), BERLIN)[1] == "Tue 02 00:00+0200"
    assert shown(opening(both, BERLIN, at(BERLIN, "2026-06-02T00:00")), BERLIN)[0] == "Tue 02 05:00+0200"


def test_a_span_without_an_end_in_sight_has_none() -> None:
    found = opening((allowed("00:00-24:00"),), BERLIN, at(BERLIN, "2026-06-01T12:00"))
    assert found is not None and found.closes_at == float("inf")


@pytest.mark.parametrize(("zone", "day", "before", "after"), [
    (BERLIN, "2026-03-29", "+0100", "+0200"), (NEW_YORK, "2026-03-08", "-0500", "-0400"),
])  # fmt: skip
def test_an_edge_that_clocks_jump_over_lies_at_the_jump(zone: str, day: str, before: str, after: str) -> None:
    date, span = day[8:], partial(edges, zone, day)
    assert span("02:30-05:00") == [f"{date} 03:00{after}", f"{date} 05:00{after}"]
    assert span("01:00-02:30") == [f"{date} 01:00{before}", f"{date} 03:00{after}"]
    assert span("02:10-02:50")[0][:2] > date, "nothing is left of them on that day"


@pytest.mark.parametrize("minute", range(1, 60))
def test_each_time_that_clocks_jump_over_stands_for_the_second_of_the_jump(minute: int) -> None:
    found = opening((allowed(f"02:{minute:02}-05:00"),), BERLIN, at(BERLIN, "2026-03-29T00:30"))
    assert found is not None and found.opens_at == at(BERLIN, "2026-03-29T03:00")


@pytest.mark.parametrize(("zone", "window", "end", "following"), [
    (BERLIN, "sun 02:10-02:50", "2026-03-22T02:50", "2026-04-05T02:10"),
    ("Africa/Cairo", "fri 00:10-00:50", "2026-04-17T00:50", "2026-05-01T00:10"),
])  # fmt: skip
def test_a_weekly_window_that_clocks_jump_over_comes_a_week_later(
    zone: str, window: str, end: str, following: str
) -> None:
    found = opening((allowed(window),), zone, at(zone, end))
    assert found is not None and found.opens_at == at(zone, following)


@pytest.mark.parametrize(("zone", "day", "hour", "first", "second"), [
    (BERLIN, "2026-10-25", "02", "+0200", "+0100"), (NEW_YORK, "2026-11-01", "01", "-0400", "-0500"),
])  # fmt: skip
def test_an_edge_that_clocks_show_twice_counts_the_first_time(
    zone: str, day: str, hour: str, first: str, second: str
) -> None:
    date, span = day[8:], partial(edges, zone, day)
    assert span(f"{hour}:30-05:00") == [f"{date} {hour}:30{first}", f"{date} 05:00{second}"]
    assert span(f"00:45-{hour}:30") == [f"{date} 00:45{first}", f"{date} {hour}:30{first}"]


def test_windows_and_their_edges_agree_through_a_year() -> None:
    hours = (SyncWindows(("mon-fri 22:00-06:00", "sun 02:30-03:30"), ("wed 01:00-02:00",)), allowed("00:00-05:00"))
    moment = at(BERLIN, "2026-01-01T00:00")
    while moment < at(BERLIN, "2027-01-02T00:00"):
        span = opening(hours, BERLIN, moment)
        assert span is not None and span.opens_at < span.closes_at
        for edge, before, after in ((span.opens_at, False, True), (span.closes_at, True, False)):
            assert is_open(hours, BERLIN, edge - 0.5) is before
            assert is_open(hours, BERLIN, edge) is after
        moment = span.closes_at


@pytest.mark.parametrize(
    "hours",
    [
        (forbidden("00:00-24:00"),),
        (forbidden("00:00-12:00", "12:00-24:00"),),
        (SyncWindows(("08:00-12:00",), ("mon-sun 07:00-13:00",)),),
        (allowed("mon 08:00-12:00"), allowed("tue 08:00-12:00")),
        (allowed("08:00-12:00"), forbidden("08:00-12:00")),
        (forbidden("12:00-12:00"),),
    ],
)
def test_windows_that_never_open_are_detected(hours: tuple[SyncWindows, ...]) -> None:
    assert never_open(hours)
    assert opening(hours, BERLIN, 1_800_000_000.0) is None
    assert not is_open(hours, BERLIN, 1_800_000_000.0)


def test_windows_that_open_once_a_week_are_found() -> None:
    assert not never_open((allowed("mon 08:00-12:00"), allowed("mon 11:59-13:00")))
