"""Can visitors trust a mirror's data, and if not, why not? A pure function of times.

Each reason for a stale mirror has one time from which it holds, and the earliest counts. So time alone can only make a
verdict worse: fresh, then stale, then unknown. Times are Unix seconds.
"""

from collections.abc import Iterator
from typing import NamedTuple

from schemas.clock.cron import longest_gap
from schemas.records import FreshnessFile, Mirror
from schemas.report import Probe
from schemas.states import AGE, FRESH, LAG, NEVER, SILENCE, STALE, UNKNOWN, UPSTREAM

_DAY = 86400

SLACK = 600.0
"""Seconds that a clock may be ahead before its times are ignored; a verdict is never wrong by more."""

PROBE_LASTS = _DAY
"""Seconds for which a probe is valid."""


class Freshness(NamedTuple):
    """The verdict, its cause (None while fresh), and the times at which time alone makes it worse."""

    verdict: str
    cause: str | None
    stale_at: float | None
    unknown_at: float | None

    @property
    def changes_at(self) -> float | None:
        """When the verdict changes without any event; None if it does not."""
        if self.verdict == FRESH:
            return min(at for at in (self.stale_at, self.unknown_at) if at is not None)
        return self.unknown_at if self.verdict == STALE else None


def stale_after(mirror: Mirror) -> int:
    """Return the age in seconds at which a mirror is stale: as configured, else three intervals, a day at least.

    With `cron` the interval is the longest gap between two times.
    """
    if mirror.stale_after is not None:
        return mirror.stale_after
    interval = longest_gap(mirror.cron) if mirror.cron else mirror.interval
    return max(3 * int(interval), _DAY)


def freshness(
    mirror: Mirror, last_success_at: float | None, probe: Probe | None, silent_at: float | None, now: float
) -> Freshness:
    """Judge a mirror by its last success, its probe (worker's times), and the time at which its worker is offline.

    `silent_at` is the time from which the worker counts as offline (None: it was never seen). The mirror of an offline
    worker is `unknown`, because an unreported success is possible.
    """
    if last_success_at is None:
        return Freshness(UNKNOWN, NEVER, None, None)
    stale_at, cause = min(_ends(mirror, last_success_at, probe))
    if silent_at is None or now >= silent_at:
        return Freshness(UNKNOWN, SILENCE, stale_at, silent_at)
    if now >= stale_at:
        return Freshness(STALE, cause, stale_at, silent_at)
    return Freshness(FRESH, None, stale_at, silent_at)


def counting(mirror: Mirror, last_success_at: float | None, probe: Probe | None) -> Probe | None:
    """Return the probe if the mirror is judged by it, else None.

    It is not if `freshness` is not configured, names another file, or a success is much newer than the probe.
    """
    if mirror.freshness is None or probe is None or is_of_another_file(mirror, probe):
        return None
    return probe if last_success_at is None or last_success_at <= probe.at + PROBE_LASTS else None


def is_of_another_file(mirror: Mirror, probe: Probe) -> bool:
    """Return whether the probe compared a file that is no longer configured; without a name the probe counts."""
    file = mirror.freshness.file if mirror.freshness else ""
    return bool(file) and probe.file not in (None, file)


def lag(probe: Probe) -> float | None:
    """Return how many seconds the mirror's time was behind the upstream's when compared; None if not known."""
    if probe.same:
        return 0.0
    upstream_at = moved_at(probe)
    if upstream_at is None or probe.own_at is None:
        return None
    return max(0.0, upstream_at - probe.own_at)


def moved_at(probe: Probe) -> float | None:
    """Return when the upstream last changed, by its file; None without a time, or with one in the future."""
    return None if probe.upstream_at is None or probe.upstream_at > probe.at + SLACK else probe.upstream_at


def _ends(mirror: Mirror, last_success_at: float, probe: Probe | None) -> Iterator[tuple[float, str]]:
    """Yield each time at which the mirror stops being fresh, with the cause.

    The age of the last success counts whatever a probe says: a failed run may have transferred the timestamp file.
    """
    yield last_success_at + stale_after(mirror), AGE
    counted = counting(mirror, last_success_at, probe)
    if counted is None or mirror.freshness is None:
        return
    for at, cause in ((_lags_at(mirror.freshness, counted), LAG), (_stands_at(mirror.freshness, counted), UPSTREAM)):
        if at is not None:
            yield at, cause


def _lags_at(rule: FreshnessFile, probe: Probe) -> float | None:
    """Return the time from which the mirror is too far behind its upstream; None if it is not.

    It is `max_lag` after the mirror was last complete: an upstream that changes after a month has a time that is a
    month newer at once. Files without a time that were never equal give no result.
    """
    behind = lag(probe)
    if probe.same is None or (behind is not None and behind <= rule.max_lag):
        return None
    if probe.even_at is not None:
        return probe.even_at + rule.max_lag
    upstream_at = moved_at(probe)
    # It was never found complete, so it counts as behind since the upstream changed.
    return None if behind is None or upstream_at is None else min(upstream_at, probe.at)


def _stands_at(rule: FreshnessFile, probe: Probe) -> float | None:
    """Return the time from which the upstream is unchanged for too long; None if that is after the probe's validity."""
    upstream_at = moved_at(probe)
    if upstream_at is None:
        return None
    at = upstream_at + rule.max_age
    return at if at <= probe.at + PROBE_LASTS else None
