"""Whether visitors can trust a mirror's data: a pure function of times."""

from typing import NamedTuple

from schemas.cron import longest_gap
from schemas.records import Mirror
from schemas.states import FRESH, STALE, UNKNOWN

_DAY = 86400


class Freshness(NamedTuple):
    """The verdict now, and the moment at which it changes by itself (None: it does not)."""

    verdict: str
    changes_at: float | None


def stale_after(mirror: Mirror) -> int:
    """Seconds from the last success until a mirror is stale: as said, else three intervals, a day at least.

    With fixed times the longest wait between two of them stands for the interval.
    """
    if mirror.stale_after is not None:
        return mirror.stale_after
    interval = longest_gap(mirror.cron) if mirror.cron else mirror.interval
    return max(3 * int(interval), _DAY)


def freshness(last_success_at: float | None, limit: int, silent_at: float | None, now: float) -> Freshness:
    """Judge a mirror by its last success (worker's time) and by when its worker counts as silent.

    `limit` is in seconds, `silent_at` the moment from which the worker's word is too old (None: never heard of).
    A silent worker's mirror is `unknown`, because a success that nobody told us about is possible.
    """
    if last_success_at is None or silent_at is None or now >= silent_at:
        return Freshness(UNKNOWN, None)
    stale_at = last_success_at + limit
    if now >= stale_at:
        return Freshness(STALE, silent_at)
    return Freshness(FRESH, min(stale_at, silent_at))
