"""Rules about when mirrors may be synced: intervals, fixed times, hours, and who follows whom."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.clock import cron, windows
from schemas.config import record_factory
from schemas.config.inheritance import Merged
from schemas.config.judgeable_keys import judged
from schemas.problems import Problem, shown
from schemas.records import Mirror, SyncWindows
from schemas.units import parse_duration

LEAST_RETRY = 60
"""Seconds that a mirror waits at least before it asks an upstream again that could not be reached."""


def timing_problems(merged: Merged, worker_windows: Callable[[], SyncWindows | None]) -> Iterator[Problem]:
    """Everything wrong with when one mirror is to be synced on one worker. A rule ends at a key that is not known."""
    for rule in (_interval, _retry_after_failure, _side_by_side, _cron):
        yield from judged(rule(merged))
    yield from judged(_sync_windows(merged, worker_windows))


def _sync_windows(merged: Merged, worker_windows: Callable[[], SyncWindows | None]) -> Iterator[Problem]:
    own = _windows(merged.keys)
    if own is not None and windows.never_open((own,)):
        yield merged.problem("sync_windows", "`sync_windows` never let a sync begin.", "Allow more, or forbid less.")
    elif own is not None and (other := worker_windows()) is not None and windows.never_open((own, other)):
        what = "`sync_windows` never let a sync begin together with those of the worker."
        yield merged.problem("sync_windows", what, "Both must allow it at the same time.")


def _windows(keys: Mapping[str, Any]) -> SyncWindows | None:
    plain = keys.get("sync_windows")
    return None if plain is None else record_factory.sync_windows(plain)


def _interval(merged: Merged) -> Iterator[Problem]:
    value = merged.keys.get("interval")
    if value is not None and parse_duration(value) < 1:
        todo = "Write at least `1s`; a mirror that shall not be synced is disabled with `skipjack disable`."
        yield merged.problem("interval", f"`interval: {value}` would never let it rest.", todo)


def _retry_after_failure(merged: Merged) -> Iterator[Problem]:
    value = merged.keys.get("retry_after_failure")
    if value is not None and 0 < parse_duration(value) < LEAST_RETRY:
        todo = "Write at least `1m`, or `0s` for no run before the next one that is planned."
        what = f"`retry_after_failure: {value}` would burden an upstream that has too many clients already."
        yield merged.problem("retry_after_failure", what, todo)


def _side_by_side(merged: Merged) -> Iterator[Problem]:
    for layer in merged.layers:
        if layer.has("cron") and layer.has("interval"):
            what = "`cron` and `interval` stand side by side."
            yield layer.document.problem((*layer.base, "cron"), what, "Remove one of them.")


def _cron(merged: Merged) -> Iterator[Problem]:
    expression = merged.keys.get("cron")
    if expression is not None and (why := cron.why_wrong(expression)) is not None:
        todo = "Write minute, hour, day of the month, month, day of the week; for example `30 4 * * *`."
        yield merged.problem("cron", f"`{shown(expression)}` {why}.", todo)


class Astray(NamedTuple):
    """A name in a mirror's `after` that it cannot follow, and why in words."""

    mirror: Mirror
    place: int
    what: str


def astray(mirrors: Sequence[Mirror], unusable: frozenset[str]) -> Iterator[Astray]:
    """Names in `after` that are not mirrors of the same worker, or lead back to the mirror itself.

    `unusable` are names that are declared in a way that cannot be used: they may be followed, once they can be.
    """
    names = {mirror.name for mirror in mirrors}
    here = {(mirror.worker, mirror.name) for mirror in mirrors}
    loops = circular(mirrors)
    for mirror in mirrors:
        for place, name in enumerate(mirror.after):
            if name in unusable and name != mirror.name:
                continue
            if name not in names:
                yield Astray(mirror, place, f"There is no mirror `{name}` to follow.")
            elif mirror.worker and (mirror.worker, name) not in here:
                yield Astray(mirror, place, f"The worker `{mirror.worker}` has no mirror `{name}` to follow.")
            elif name in loops.get((mirror.worker, mirror.name), ()):
                what = f"`{mirror.name}` would wait for itself"
                through = "" if name == mirror.name else f", since `{name}` comes after it"
                yield Astray(mirror, place, f"{what}{through}.")


def circular(mirrors: Sequence[Mirror]) -> dict[tuple[str, str], set[str]]:
    """Mirrors that come after themselves, by worker and name, with the names in their `after` that lead there."""
    follows = {(mirror.worker, mirror.name): mirror.after for mirror in mirrors if mirror.after}
    found: dict[tuple[str, str], set[str]] = {}
    for worker, name in follows:
        for before in follows[worker, name]:
            if before == name or name in _reached(follows, worker, before):
                found.setdefault((worker, name), set()).add(before)
    return found


def _reached(follows: Mapping[tuple[str, str], tuple[str, ...]], worker: str, name: str) -> set[str]:
    reached: set[str] = set()
    left = [name]
    while left:
        for before in follows.get((worker, left.pop()), ()):
            if before not in reached:
                reached.add(before)
                left.append(before)
    return reached
