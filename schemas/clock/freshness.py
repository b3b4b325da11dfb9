"""Whether visitors can trust a mirror's data, and if not whose fault it is: a pure function of times.

Everything that can make a mirror stale has one moment at which it does, and the earliest counts, so that time alone
only ever makes a verdict worse: fresh, then stale, then unknown.
"""

from collections.abc import Iterator
from typing import NamedTuple

from schemas.clock.cron import longest_gap
from schemas.records import FreshnessFile, Mirror
from schemas.report import Probe
from schemas.states import AGE, FRESH, LAG, NEVER, SILENCE, STALE, UNKNOWN, UPSTREAM

_DAY = 86400

SLACK = 600.0
"""Seconds by which a clock may be ahead before its times are not believed: less makes no verdict wrong by more."""

PROBE_LASTS = _DAY
"""Seconds for which a probe says something of what came after it."""


class Freshness(NamedTuple):
    """The verdict and its cause (None while fresh), and the moments at which time alone makes it worse."""

    verdict: str
    cause: str | None
    stale_at: float | None
    unknown_at: float | None

    @property
    def changes_at(self) -> float | None:
        """When the verdict changes by itself; None when it does not."""
        if self.verdict == FRESH:
            return min(at for at in (self.stale_at, self.unknown_at) if at is not None)
        return self.unknown_at if self.verdict == STALE else None


def stale_after(mirror: Mirror) -> int:
    """Seconds from the last success until a mirror is stale: as said, else three intervals, a day at least.

    With fixed times the longest wait between two of them stands for the interval.
    """
    if mirror.stale_after is not None:
        return mirror.stale_after
    interval = longest_gap(mirror.cron) if mirror.cron else mirror.interval
    return max(3 * int(interval), _DAY)


def freshness(
    mirror: Mirror, last_success_at: float | None, probe: Probe | None, silent_at: float | None, now: float
) -> Freshness:
    """Judge a mirror by its last success and its probe (worker's times) and by when its worker counts as silent.

    `silent_at` is the moment from which the worker's word is too old (None: never heard of). A silent worker's mirror
    is `unknown`, because a success that nobody told us about is possible.
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
    """The probe if the mirror is judged by it: asked for, of the file that is (`""` is any), and not overtaken by a
    success that it knows nothing of."""
    if mirror.freshness is None or probe is None or is_of_another_file(mirror, probe):
        return None
    return probe if last_success_at is None or last_success_at <= probe.at + PROBE_LASTS else None


def is_of_another_file(mirror: Mirror, probe: Probe) -> bool:
    """Whether a file was compared that was asked for before; a worker that does not say which is believed."""
    file = mirror.freshness.file if mirror.freshness else ""
    return bool(file) and probe.file not in (None, file)


def lag(probe: Probe) -> float | None:
    """Seconds from our stamp to the upstream's when they were compared; None when that cannot be told."""
    if probe.same:
        return 0.0
    upstream_at = moved_at(probe)
    if upstream_at is None or probe.own_at is None:
        return None
    return max(0.0, upstream_at - probe.own_at)


def moved_at(probe: Probe) -> float | None:
    """When the upstream last changed, as its file says; None when that tells nothing, as a time in the future does."""
    return None if probe.upstream_at is None or probe.upstream_at > probe.at + SLACK else probe.upstream_at


def _ends(mirror: Mirror, last_success_at: float, probe: Probe | None) -> Iterator[tuple[float, str]]:
    """Each moment at which the mirror stops being fresh, and why.

    The age of the last success counts whatever a probe says: a run that failed half-way may have brought the stamp.
    """
    yield last_success_at + stale_after(mirror), AGE
    counted = counting(mirror, last_success_at, probe)
    if counted is None or mirror.freshness is None:
        return
    for at, cause in ((_lags_at(mirror.freshness, counted), LAG), (_stands_at(mirror.freshness, counted), UPSTREAM)):
        if at is not None:
            yield at, cause


def _lags_at(rule: FreshnessFile, probe: Probe) -> float | None:
    """When the mirror is too far behind its upstream.

    Not before `max_lag` has gone by since nothing was missing: an upstream that moves after a month has a stamp that is
    a month newer at once. Stamps that hold no time, and were never found the same, tell nothing.
    """
    behind = lag(probe)
    if probe.same is None or (behind is not None and behind <= rule.max_lag):
        return None
    if probe.even_at is not None:
        return probe.even_at + rule.max_lag
    upstream_at = moved_at(probe)
    return None if behind is None or upstream_at is None else min(upstream_at, probe.at)


def _stands_at(rule: FreshnessFile, probe: Probe) -> float | None:
    """When the upstream has stood still for too long; a probe cannot know whether it moves much later."""
    upstream_at = moved_at(probe)
    if upstream_at is None:
        return None
    at = upstream_at + rule.max_age
    return at if at <= probe.at + PROBE_LASTS else None
