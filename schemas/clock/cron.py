"""Fixed times by the wall clock, as crontab(5) writes them: when a clock of a time zone shows one next.

What the expressions mean, and what happens to them when clocks are put forward or back, is cronsim's knowledge: it
does what Debian's cron does. Imported only where there is such an expression; every import of weight is made late.
"""

import functools
from bisect import bisect_right
from types import ModuleType

_FIELDS = 5
_SPANS = 1000
_NEVER = float("inf")

GAP = 8 * 3600.0
"""Nobody asks for gaps shorter than this."""

_YEAR = 366 * 86400.0

_EPOCH = 1_767_225_600.0
"""A moment to begin samples at, 2026-01-01, so that the same expression always gives the same gap."""


def why_wrong(expression: str) -> str | None:
    """Why an expression cannot be used, in a few words, or None when it can."""
    if len(expression.split()) != _FIELDS:
        return f"has {len(expression.split())} fields, not {_FIELDS}"
    try:
        never = next_time(expression, "UTC", _EPOCH) is None
    except _cronsim().CronSimError as error:
        return f"cannot be read: {str(error).lower()}"
    return "never comes true" if never else None


def next_time(expression: str, zone: str, after: float) -> float | None:
    """The first moment later than `after` that the expression names, in seconds UTC; None when there is none.

    Mirrors that share an expression share its answers: all that ran since the last moment have the same next one.
    """
    ends, begins = _known(expression, zone)
    place = bisect_right(ends, after)
    if place < len(ends) and begins[place] <= after:
        return ends[place] if ends[place] != _NEVER else None
    found = _next_time(expression, zone, after)
    _learn(ends, begins, place, after, _NEVER if found is None else found)
    return found


@functools.lru_cache(maxsize=4096)
def _known(_expression: str, _zone: str) -> tuple[list[float], list[float]]:
    """Spans of time in which there is no moment but the one that ends each: their ends in order, and their begins."""
    return [], []


def _learn(ends: list[float], begins: list[float], place: int, begin: float, end: float) -> None:
    if place < len(ends) and ends[place] == end:
        begins[place] = begin
        return
    if len(ends) > _SPANS:
        ends.clear()
        begins.clear()
        place = 0
    ends.insert(place, end)
    begins.insert(place, begin)


def _next_time(expression: str, zone: str, after: float) -> float | None:
    from datetime import datetime

    from schemas.clock import zones

    begin = datetime.fromtimestamp(after, zones.zone(zone))
    for found in _cronsim().CronSim(expression, begin):
        # Begun in an hour that is shown twice, it may name a moment of the first time again.
        if (moment := float(found.timestamp())) > after:
            return moment
    return None


@functools.cache
def longest_gap(expression: str) -> float:
    """Seconds between two of the moments at most, as far as a year tells, but no less than `GAP`."""
    gap, moment = GAP, _next_time(expression, "UTC", _EPOCH)
    end = max(_EPOCH, moment or 0.0) + _YEAR
    while moment is not None and moment < end:
        # A longer gap begins with the last moment before this one could be over, or later.
        last = max(moment, _last_time(expression, moment + gap))
        following = _next_time(expression, "UTC", last)
        gap = gap if following is None else max(gap, following - last)
        moment = following
    return gap


def _last_time(expression: str, until: float) -> float:
    from datetime import UTC, datetime

    begin = datetime.fromtimestamp(until + 1, UTC)
    return float(next(_cronsim().CronSim(expression, begin, reverse=True)).timestamp())


@functools.cache
def _cronsim() -> ModuleType:
    from schemas.clock.zones import installed_module

    return installed_module("cronsim")
