"""How many runs start in each hour of an average day? An estimate from the schedules alone.

A run by `interval` may start at any time, so it counts evenly; one that is due while its sync windows are closed starts
when they open. Cron times are those of one fixed week, so that the same schedules always give the same figures.
"""

import functools
from collections.abc import Iterable
from operator import add

from runner.forecast.forecast import DayLoad
from schemas.clock import windows
from schemas.clock.windows import Hours
from schemas.records import Mirror, Worker

_HOUR = 3600.0
_DAY_HOURS = 24
_WEEK = 7 * _DAY_HOURS
_MONDAY = 1_801_440_000.0
"""Monday, 2027-02-01, in UTC: a week that has the first of a month, far from changes to daylight saving."""

_NONE = (0.0,) * _DAY_HOURS
_SAME = 0.005
"""Starts an hour that make no difference."""

Day = tuple[float, ...]
"""Starts in each hour of the day."""


def compare(
    before: Iterable[Mirror], after: Iterable[Mirror], old: Worker | None, new: Worker | None, zone: str
) -> DayLoad | None:
    """Return a worker's day before and after; None if it stays the same, or nothing ever runs."""
    was, becomes = _day(before, old, zone), _day(after, new, zone)
    slots_before, slots_after = (worker.slots if worker else 0 for worker in (old, new))
    same = all(abs(one - other) < _SAME for one, other in zip(was, becomes, strict=True))
    if same and (slots_before == slots_after or not any(becomes)):
        return None
    return DayLoad(was, becomes, slots_before, slots_after)


def starts_a_day(mirror: Mirror, worker: Worker | None, zone: str) -> float:
    """Return how many runs of a mirror start on an average day."""
    return sum(_starts_of(mirror, worker, zone))


def _day(mirrors: Iterable[Mirror], worker: Worker | None, zone: str) -> Day:
    total = _NONE
    for mirror in mirrors:
        total = tuple(map(add, total, _starts_of(mirror, worker, zone)))
    return tuple([round(each, 2) for each in total])


def _starts_of(mirror: Mirror, worker: Worker | None, zone: str) -> Day:
    limits = (mirror.sync_windows, worker.sync_windows if worker else None)
    return _starts(mirror.cron, mirror.interval, tuple([each for each in limits if each is not None]), zone)


@functools.lru_cache(maxsize=4096)
def _starts(cron: str, interval: int, hours: Hours, zone: str) -> Day:
    due = _by_cron(cron, zone) if cron else (_HOUR / interval,) * _WEEK
    return _by_hour(_within(due, hours, zone) if hours else due)


def _by_hour(week: Day) -> Day:
    return tuple([sum(week[hour::_DAY_HOURS]) / 7 for hour in range(_DAY_HOURS)])


@functools.lru_cache(maxsize=4096)
def _by_cron(cron: str, zone: str) -> Day:
    from schemas.clock.cron import next_time

    week = [0.0] * _WEEK
    begin = _begin(zone)
    moment = next_time(cron, zone, begin - 1)
    while moment is not None and moment < begin + _WEEK * _HOUR:
        week[int((moment - begin) // _HOUR)] += 1
        moment = next_time(cron, zone, moment)
    return tuple(week)


def _within(due: Day, hours: Hours, zone: str) -> Day:
    """Return the starts of a week within sync windows: a mirror that waits for one starts once, when it opens."""
    is_open = _open_hours(hours, zone)
    if not any(is_open):
        return (0.0,) * _WEEK
    week, waiting = [0.0] * _WEEK, 0.0
    for hour in range(2 * _WEEK):  # the second time, those that wait at the end of a week are known
        place = hour % _WEEK
        waiting = min(1.0, waiting + due[place]) if not is_open[place] else waiting
        if is_open[place]:
            week[place], waiting = due[place] + waiting, 0.0
    return tuple(week)


@functools.lru_cache(maxsize=1024)
def _open_hours(hours: Hours, zone: str) -> tuple[bool, ...]:
    """Return whether a start is allowed in the middle of each hour of the week."""
    begin = _begin(zone)
    middles = [begin + (hour + 0.5) * _HOUR for hour in range(_WEEK)]
    spans = [windows.opening(hours, zone, middle) for middle in middles]
    return tuple([span is not None and span.opens_at <= at for span, at in zip(spans, middles, strict=True)])


@functools.cache
def _begin(zone: str) -> float:
    """Return when the week begins in a time zone."""
    from datetime import datetime

    from schemas.clock import zones

    shown = datetime.fromtimestamp(_MONDAY, zones.zone(zone))
    return _MONDAY - (shown.replace(tzinfo=None) - datetime(2027, 2, 1)).total_seconds()
