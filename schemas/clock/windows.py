"""When may syncs start? Sync windows such as `mon-fri 22:00-06:00`, by the wall clock of a time zone.

Days are those on which a window begins; one that does not end after its begin reaches into the next day. A window
begins and ends when a clock first shows its times; if the clock skips a time for daylight saving, at the change.
"""

import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from schemas.records import SyncWindows

if TYPE_CHECKING:
    from datetime import date, datetime, tzinfo

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_BEHIND, _AHEAD = 2, 16
"""Days before and after a time that are searched: a window repeats after a week, or two if a clock skips it."""

Hours = tuple[SyncWindows, ...]
"""Sync windows of which all must allow a start, such as the mirror's and the worker's."""


class Span(NamedTuple):
    """A span in which syncs may start, in Unix seconds; `closes_at` is infinite if no end is known."""

    opens_at: float
    closes_at: float


class _Window(NamedTuple):
    """One parsed window: the weekdays (0 is Monday) on which it begins, and its minutes of the day."""

    days: frozenset[int]
    begin: int
    end: int


def opening(hours: Hours, zone: str, moment: float) -> Span | None:
    """Return the span that contains a time (Unix seconds), or the next one after it; None if there is none."""
    # By the day, so that one cached result serves all times of it.
    return next((span for span in _spans(hours, zone, int(moment // 86400)) if span.closes_at > moment), None)


def never_open(hours: Hours) -> bool:
    """Return whether no sync may ever start."""
    # In UTC, which needs no time zone data: no zone opens windows that forbid each other.
    return opening(hours, "UTC", 0.0) is None


@functools.lru_cache(maxsize=1024)
def _spans(hours: Hours, zone: str, day: int) -> tuple[Span, ...]:
    """Return the spans around a day, counted from 1970, in order. Cached, since many mirrors share them."""
    edges = [_edges(windows, zone, day) for windows in hours]
    moments = sorted({moment for spans in edges for _allowed, *span in spans for moment in span})
    found: list[Span] = []
    for begin, end in zip([-math.inf, *moments], [*moments, math.inf], strict=True):
        if not all(_is_open(windows, spans, begin) for windows, spans in zip(hours, edges, strict=True)):
            continue
        if found and found[-1].closes_at == begin:
            begin = found.pop().opens_at
        found.append(Span(begin, end))
    # Beyond the days that were searched, spans are unknown.
    last = (day + _AHEAD - 1) * 86400.0
    return tuple([Span(begin, end if end < last else math.inf) for begin, end in found if begin < last])


_Edge = tuple[bool, float, float]
"""Whether a window allows or forbids a start, when it begins, and when it ends."""


def _edges(windows: SyncWindows, zone: str, day: int) -> list[_Edge]:
    from datetime import date, timedelta

    from schemas.clock import zones

    place = zones.zone(zone)
    first = date(1970, 1, 1) + timedelta(days=day)
    dates = [first + timedelta(days=number) for number in range(-_BEHIND, _AHEAD)]
    edges = []
    for allowed, texts in ((True, windows.allowed), (False, windows.forbidden)):
        for window in map(_parsed, texts):
            edges += [(allowed, *_times(window, each, place)) for each in dates if each.weekday() in window.days]
    return edges


def _is_open(windows: SyncWindows, edges: list[_Edge], moment: float) -> bool:
    within = {allowed for allowed, begin, end in edges if begin <= moment < end}
    return False not in within and (True in within or not windows.allowed)


def _times(window: _Window, day: "date", zone: "tzinfo") -> tuple[float, float]:
    from datetime import datetime, time, timedelta

    midnight = datetime.combine(day, time())
    times = (midnight + timedelta(minutes=minutes) for minutes in (window.begin, window.end))
    begin, end = (_first_shown(each, zone) for each in times)
    return begin, end


def _first_shown(clock: "datetime", zone: "tzinfo") -> float:
    """Return when clocks of a zone first show a time, in seconds UTC; if they skip it, the time of the change."""
    from datetime import datetime

    before, after = (clock.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    # Of a skipped time, the change lies between the results with both offsets. Any other is first shown at `before`.
    low, high = after, before
    while high - low > 1:
        middle = (low + high) // 2
        jumped = datetime.fromtimestamp(middle, zone).replace(tzinfo=None) > clock
        low, high = (low, middle) if jumped else (middle, high)
    return high


@functools.cache
def _parsed(text: str) -> _Window:
    days, _, hours = text.rpartition(" ")
    begin, end = (_minutes(clock) for clock in hours.split("-"))
    return _Window(frozenset(_weekdays(days)), begin, end if end > begin else end + 24 * 60)


def _weekdays(text: str) -> Iterator[int]:
    for part in text.split(",") if text else ("mon-sun",):
        first, _, last = part.partition("-")
        begin, end = _DAYS.index(first), _DAYS.index(last or first)
        yield from (day % 7 for day in range(begin, end + 1 if end >= begin else end + 8))


def _minutes(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 60 + int(minutes)
