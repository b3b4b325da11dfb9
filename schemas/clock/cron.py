"""When is the next time of a cron expression (crontab(5)) in a time zone?

cronsim evaluates the expressions, also at the change to and from daylight saving time: it does what Debian's cron does.
This module is imported only for a mirror with `cron`; heavy imports stand inside functions.
"""

import functools
from bisect import bisect_right
from types import ModuleType

# cronsim also reads a sixth field, for seconds, which crontab(5) does not have.
_FIELDS = 5
_SPANS = 1000
"""Spans that are cached for an expression. Before more all are dropped, to limit the memory of a running courier."""

_NEVER = float("inf")

GAP = 8 * 3600.0
"""Seconds; the least result of `longest_gap`, since its caller needs no shorter one."""

_YEAR = 366 * 86400.0

_EPOCH = 1_767_225_600.0
"""The start of samples, 2026-01-01; it is fixed so that an expression always gives the same gap."""


def why_wrong(expression: str) -> str | None:
    """Return why an expression is invalid as a predicate ("has …"); None if it is valid."""
    if len(expression.split()) != _FIELDS:
        return f"has {len(expression.split())} fields, not {_FIELDS}"
    try:
        # In UTC: an expression without a time there, such as February 30, has none in any zone.
        never = next_time(expression, "UTC", _EPOCH) is None
    except _cronsim().CronSimError as error:
        return f"is not a valid cron expression: {str(error).lower()}"
    return "never matches a time" if never else None


def next_time(expression: str, zone: str, after: float) -> float | None:
    """Return the first time of the expression later than `after`, in seconds UTC; None if there is none.

    The results are cached: mirrors with the same expression that ran since its last time have the same next one.
    """
    ends, begins = _known(expression, zone)
    place = bisect_right(ends, after)
    # Within a known span, at whose end the next time is.
    if place < len(ends) and begins[place] <= after:
        return ends[place] if ends[place] != _NEVER else None
    found = _next_time(expression, zone, after)
    _learn(ends, begins, place, after, found)
    return found if found != _NEVER else None


@functools.lru_cache(maxsize=4096)
def _known(_expression: str, _zone: str) -> tuple[list[float], list[float]]:
    """Return the cached spans without a time except at their end: their ends, sorted, and their begins."""
    # Lists, not tuples, because `_learn` changes them in place.
    return [], []


def _learn(ends: list[float], begins: list[float], place: int, begin: float, end: float) -> None:
    # The known span before the same time begins earlier than it did.
    if place < len(ends) and ends[place] == end:
        begins[place] = begin
        return
    if len(ends) == _SPANS:
        ends.clear()
        begins.clear()
    # At the only place if the lists are empty: `insert` appends where `place` is beyond the end.
    ends.insert(place, end)
    begins.insert(place, begin)


def _next_time(expression: str, zone: str, after: float) -> float:
    """Return what `next_time` does, but `_NEVER` if there is none."""
    from datetime import datetime

    from schemas.clock import zones

    begin = datetime.fromtimestamp(after, zones.zone(zone))
    found: datetime
    for found in _cronsim().CronSim(expression, begin):
        # In an hour that clocks show twice, cronsim may return a time of the first pass.
        if (moment := found.timestamp()) > after:
            return moment
    return _NEVER


@functools.cache
def longest_gap(expression: str) -> float:
    """Return the longest gap between two times within a year, in seconds, at least `GAP`."""
    gap, moment = GAP, _next_time(expression, "UTC", _EPOCH)
    end = moment + _YEAR
    while moment < end:  # not if it is `_NEVER`; else there is always a next time, since the calendar repeats
        # A longer gap begins at the last time within this gap, or later.
        last = _last_time(expression, moment + gap)
        moment = _next_time(expression, "UTC", last)
        gap = max(gap, moment - last)
    return gap


def _last_time(expression: str, until: float) -> float:
    from datetime import UTC, datetime

    begin = datetime.fromtimestamp(until + 1, UTC)
    last: datetime = next(_cronsim().CronSim(expression, begin, reverse=True))
    return last.timestamp()


@functools.cache
def _cronsim() -> ModuleType:
    from schemas.clock.zones import installed_module

    return installed_module("cronsim")
