"""Rules about when mirrors are synced: intervals, cron schedules, sync windows and `after`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.clock import cron, windows
from schemas.config import record_factory
from schemas.config.inheritance import Merged
from schemas.config.judgeable_keys import judged
from schemas.problems import Problem, shown
from schemas.records import Mirror, SyncWindows
from schemas.units import parse_duration

NEVER_OPEN = "`sync_windows` never allow a sync to start.", "Allow more, or forbid less."

LEAST_RETRY = 60
"""Seconds to wait at least after an upstream could not be reached."""


def timing_problems(merged: Merged, worker_windows: Callable[[], SyncWindows | None]) -> Iterator[Problem]:
    """Yield the problems of one mirror's schedule on one worker. A rule ends at a key of unknown value."""
    for rule in (_interval, _retry_after_failure, _side_by_side, _cron):
        yield from judged(rule(merged))
    yield from judged(_sync_windows(merged, worker_windows))


def _sync_windows(merged: Merged, worker_windows: Callable[[], SyncWindows | None]) -> Iterator[Problem]:
    own = _windows(merged.keys)
    if own is not None and windows.never_open((own,)):
        yield merged.problem("sync_windows", *NEVER_OPEN)
    elif own is not None and (other := worker_windows()) is not None and windows.never_open((own, other)):
        what = "`sync_windows` and those of the worker never allow a sync at the same time."
        yield merged.problem("sync_windows", what, "Let them overlap.")


def _windows(keys: Mapping[str, Any]) -> SyncWindows | None:
    plain = keys.get("sync_windows")
    return None if plain is None else record_factory.sync_windows(plain)


def _interval(merged: Merged) -> Iterator[Problem]:
    value = merged.keys.get("interval")
    if value is not None and parse_duration(value) < 1:
        todo = "Write at least `1s`; to stop syncing a mirror, run `skipjack disable`."
        yield merged.problem("interval", f"`interval: {value}` would sync the mirror without a pause.", todo)


def _retry_after_failure(merged: Merged) -> Iterator[Problem]:
    value = merged.keys.get("retry_after_failure")
    if value is not None and 0 < parse_duration(value) < LEAST_RETRY:
        todo = "Write at least `1m`, or `0s` for no run before the next scheduled one."
        what = f"`retry_after_failure: {value}` is too short for an upstream that is overloaded."
        yield merged.problem("retry_after_failure", what, todo)


def _side_by_side(merged: Merged) -> Iterator[Problem]:
    for layer in merged.layers:
        if layer.has("cron") and layer.has("interval"):
            what = "`cron` and `interval` are both set."
            yield layer.document.problem((*layer.base, "cron"), what, "Remove one of them.")


def _cron(merged: Merged) -> Iterator[Problem]:
    expression = merged.keys.get("cron")
    if expression is not None and (why := cron.why_wrong(expression)) is not None:
        todo = "Write minute, hour, day of month, month, day of week, for example `30 4 * * *`."
        yield merged.problem("cron", f"`{shown(expression)}` {why}.", todo)


class AfterProblem(NamedTuple):
    """An entry of a mirror's `after` that it cannot follow, and the message."""

    mirror: Mirror
    place: int
    what: str


def after_problems(mirrors: Sequence[Mirror], unusable: frozenset[str]) -> Iterator[AfterProblem]:
    """Yield entries of `after` that are not mirrors of the same worker, or lead back to the mirror itself.

    `unusable` are mirrors with problems of their own; they may be followed. An empty name stands for a wrong one.
    """
    names = {mirror.name for mirror in mirrors}
    here = {(mirror.worker, mirror.name) for mirror in mirrors}
    loops = circular(mirrors)
    for mirror in mirrors:
        for place, name in enumerate(mirror.after):
            if not name or (name in unusable and name != mirror.name):
                continue
            if name not in names:
                yield AfterProblem(mirror, place, f"The mirror `{name}` in `after` does not exist.")
            elif mirror.worker and (mirror.worker, name) not in here:
                what = f"The worker `{mirror.worker}` does not have the mirror `{name}` in `after`."
                yield AfterProblem(mirror, place, what)
            elif name in loops.get((mirror.worker, mirror.name), ()):
                what = f"`{mirror.name}` would wait for itself"
                through = "" if name == mirror.name else f", since `{name}` comes after it"
                yield AfterProblem(mirror, place, f"{what}{through}.")


def circular(mirrors: Sequence[Mirror]) -> dict[tuple[str, str], set[str]]:
    """Return mirrors that follow themselves: for each worker and name, the entries of `after` in the circle."""
    follows = {
        (mirror.worker, mirror.name): [(mirror.worker, before) for before in mirror.after]
        for mirror in mirrors
        if mirror.after
    }
    circle = _circles(follows)
    found: dict[tuple[str, str], set[str]] = {}
    for node, entries in follows.items():
        if names := {each[1] for each in entries if each == node or circle.get(each) == circle[node]}:
            found[node] = names
    return found


_Node = tuple[str, str]
"""A worker and one of its mirrors."""


def _circles(follows: Mapping[_Node, Sequence[_Node]]) -> dict[_Node, _Node]:
    """Return for each mirror one of the circle that it is in, or itself: the strongly connected components.

    By Kosaraju's algorithm, in linear time: a repository can have a chain or circle of thousands.
    """
    led_to: dict[_Node, list[_Node]] = {}
    for node in follows:
        for before in follows[node]:
            led_to.setdefault(before, []).append(node)
    seen: set[_Node] = set()
    order = [node for start in follows for node in _finished(start, follows, seen)]
    found: dict[_Node, _Node] = {}
    seen = set()
    for start in reversed(order):
        found |= dict.fromkeys(_finished(start, led_to, seen), start)
    return found


def _finished(start: _Node, steps: Mapping[_Node, Sequence[_Node]], seen: set[_Node]) -> Iterator[_Node]:
    """Yield what can be reached from a node and was not `seen`, each after all that can be reached from it."""
    if start in seen:
        return
    seen.add(start)
    path = [(start, iter(steps.get(start, ())))]
    while path:
        node, left = path[-1]
        below = next((each for each in left if each not in seen), None)
        if below is None:
            path.pop()
            yield node
        else:
            seen.add(below)
            path.append((below, iter(steps.get(below, ()))))
