"""What is so at one moment: the store's facts, judged. Pure, so every rule is tested with a made-up `now`.

With a configuration its mirrors are the site's mirrors, whether they ever ran or not; without one the site shows
what workers tell. A mirror that several workers have is one mirror with several copies.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas.freshness import freshness, stale_after
from schemas.records import Mirror, Site, Worker
from schemas.report import MirrorStatus
from schemas.states import FRESH, FRESHNESS, NONE
from sitegen.model import Facts, WorkerState

_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
"""A user name and password in an upstream's address are nobody's business."""

DEFAULT_TITLE = "Mirrors"
CURRENT, BEHIND, OTHER = "current", "behind", "other"
"""A worker's revision: ours, one that we had before, or one that we do not know."""


class Copy(NamedTuple):
    """One worker's copy of a mirror.

    `stale_at` and `unknown_at` are the moments at which it turns, Unix seconds; `silent_after` is in seconds.
    """

    worker: str
    definition: Mirror
    status: MirrorStatus
    verdict: str
    stale_at: float | None
    unknown_at: float | None
    silent_after: int


class MirrorView(NamedTuple):
    """A mirror as visitors see it; `best` is the freshest of its copies, the first of `copies`.

    From `stale_at` on no copy is fresh any more, from `unknown_at` on none is known, unless a worker says more.
    """

    name: str
    definition: Mirror
    best: Copy
    copies: tuple[Copy, ...]
    stale_at: float | None
    unknown_at: float | None

    @property
    def verdict(self) -> str:
        """The freshness of the best copy."""
        return self.best.verdict


class WorkerView(NamedTuple):
    """A worker as people see it; never heard of without `state`, and with nothing to follow without `standing`."""

    name: str
    definition: Worker
    state: WorkerState | None
    silent_at: float | None
    silent: bool
    standing: str | None
    mirrors: int


class Snapshot(NamedTuple):
    """The whole site at `made_at`; `changes_at` is when something changes by itself, None when nothing does."""

    made_at: float
    changes: int
    site: Site
    revision: str | None
    committed_at: float | None
    mirrors: tuple[MirrorView, ...]
    workers: tuple[WorkerView, ...]
    problems: tuple[str, ...]
    refusal: str
    changes_at: float | None


def judge(facts: Facts, now: float) -> Snapshot:
    """Turn facts into what is so at `now` (Unix seconds)."""
    definitions = _definitions(facts)
    states = {state.name: state for state in facts.workers}
    silent_at = {name: state.last_seen + _worker(facts, name).silent_after for name, state in states.items()}
    held = {(item.worker, item.status.mirror): item.status for item in facts.mirrors}
    copies = [
        _copy(
            mirror,
            held.get((mirror.worker, mirror.name)),
            silent_at.get(mirror.worker),
            _worker(facts, mirror.worker),
            now,
        )
        for mirror in definitions
    ]
    declared = facts.declared
    moments = [at for copy in copies for at in (copy.stale_at, copy.unknown_at)] + list(silent_at.values())
    return Snapshot(
        made_at=now,
        changes=facts.changes,
        site=declared.site if declared else Site(DEFAULT_TITLE),
        revision=declared.revision if declared else None,
        committed_at=declared.committed_at if declared else None,
        mirrors=_mirrors(copies),
        workers=_workers(facts, copies, silent_at, now),
        problems=declared.problems if declared else (),
        refusal=facts.refusal,
        changes_at=min((at for at in moments if at is not None and at > now), default=None),
    )


def _definitions(facts: Facts) -> tuple[Mirror, ...]:
    if facts.declared:
        return facts.declared.mirrors
    return tuple(
        Mirror(item.status.mirror, item.worker, "", item.status.upstream, role=_role(item.status))
        for item in facts.mirrors
    )


def _role(status: MirrorStatus) -> str:
    return "master" if status.is_master else "slave"


def _worker(facts: Facts, name: str) -> Worker:
    declared = facts.declared.workers if facts.declared else {}
    return declared.get(name) or Worker(name)


def _copy(definition: Mirror, status: MirrorStatus | None, silent_at: float | None, worker: Worker, now: float) -> Copy:
    if status is None:
        status = MirrorStatus(definition.name, definition.upstream, definition.role == "master", NONE)
    status = status._replace(upstream=_CREDENTIALS.sub("", status.upstream))
    limit = stale_after(definition)
    verdict = freshness(status.last_success_at, limit, silent_at, now).verdict
    if status.last_success_at is None:
        return Copy(definition.worker, definition, status, verdict, None, None, worker.silent_after)
    stale_at = status.last_success_at + limit
    return Copy(definition.worker, definition, status, verdict, stale_at, silent_at, worker.silent_after)


def _mirrors(copies: Iterable[Copy]) -> tuple[MirrorView, ...]:
    by_name: dict[str, list[Copy]] = {}
    for copy in copies:
        by_name.setdefault(copy.definition.name, []).append(copy)
    return tuple(_mirror(name, by_name[name]) for name in sorted(by_name))


def _mirror(name: str, copies: list[Copy]) -> MirrorView:
    copies.sort(key=_rank)
    known = [copy.unknown_at for copy in copies if copy.unknown_at is not None]
    unknown_at = max(known, default=None)
    return MirrorView(name, copies[0].definition, copies[0], tuple(copies), _stale_at(copies, unknown_at), unknown_at)


def _rank(copy: Copy) -> tuple[int, bool, float, str]:
    """Sorts the freshest copy first; among equals the master, then the most recent."""
    status = copy.status
    return FRESHNESS.index(copy.verdict), not status.is_master, -(status.last_success_at or 0), copy.worker


def _stale_at(copies: Iterable[Copy], unknown_at: float | None) -> float | None:
    """When the last copy stops being fresh; a copy that turns unknown before the others stops being so then."""
    moments = []
    for copy in copies:
        if copy.stale_at is None or copy.unknown_at is None:
            continue
        moments.append(copy.stale_at if copy.unknown_at == unknown_at else min(copy.stale_at, copy.unknown_at))
    return max(moments, default=None)


def _workers(
    facts: Facts, copies: Iterable[Copy], silent_at: Mapping[str, float], now: float
) -> tuple[WorkerView, ...]:
    states = {state.name: state for state in facts.workers}
    names = states.keys() | (facts.declared.workers.keys() if facts.declared else set())
    counts = dict.fromkeys(names, 0)
    for copy in copies:
        counts[copy.worker] = counts.get(copy.worker, 0) + 1
    return tuple(
        WorkerView(
            name,
            _worker(facts, name),
            states.get(name),
            silent_at.get(name),
            name in silent_at and now >= silent_at[name],
            _standing(facts, states.get(name)),
            counts[name],
        )
        for name in sorted(names)
    )


def _standing(facts: Facts, state: WorkerState | None) -> str | None:
    if facts.declared is None or state is None or state.revision is None:
        return None
    if state.revision == facts.declared.revision:
        return CURRENT
    return BEHIND if state.revision in facts.revisions else OTHER


def count(mirrors: Iterable[MirrorView], verdict: str = FRESH) -> int:
    """How many mirrors have this freshness."""
    return sum(mirror.verdict == verdict for mirror in mirrors)
