"""From the store's facts to what is so. Everything depends on the arguments and on `now` alone.

With a configuration its mirrors are the site's mirrors, whether they ever ran or not; without one the site shows
what workers tell. A mirror that several workers have is one mirror with several copies.

A `Judge` judges again and again and gives the same view of a mirror until something about it changes. Its worker's
signs of life move the moment at which it turns unknown all the time, so in a view that moment moves in coarse steps
only; the verdict is right all the same, because the view is made anew when its moment comes.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas.addresses import without_secrets
from schemas.clock.freshness import SLACK, Freshness, counting, freshness
from schemas.config.rename_rules import current_names
from schemas.records import FreshnessFile, Mirror, Site, Worker
from schemas.report import MirrorStatus, Probe, Run, RunProgress
from schemas.states import ACTIVE, AGE, CLOCK, FRESHNESS, LAG, NEVER, NONE, OFF, QUEUED, SWITCHED_OFF, UNKNOWN
from sitegen.messages.model import TUNASYNC, DeclaredConfig, Facts, WorkerState
from sitegen.site import future, silence
from sitegen.site.snapshot import BEHIND, CURRENT, OTHER, REFUSED, ClockSkew, Copy, MirrorView, Snapshot, WorkerView

DEFAULT_TITLE = "Mirrors"

STEPS = 4
"""How many coarse steps there are in the time after which a worker counts as silent."""

LIVE = 300.0
"""Seconds after a worker's sign of life for which the progress that came with it is worth showing."""

LATE = SLACK
"""Seconds after which a planned run is due and no longer planned: clocks that differ by less are believed."""

CLOCK_SHOWN = 7 * 86400.0
"""Seconds for which it is told that a worker's clock was wrong: times that were limited then may stand for days."""


class _WorkerInputs(NamedTuple):
    """What a worker adds to the views of its mirrors; `step` stays the same while `silent_at` moves a little.

    One that `is_foreign` is of tunasync.
    """

    definition: Worker
    silent_at: float | None = None
    step: tuple[float, float] | None = None
    live_until: float = 0.0
    progress: Mapping[str, RunProgress] = {}
    held: bool = False
    is_foreign: bool = False


class _CopyInputs(NamedTuple):
    """What one copy's view is made of, beside the time."""

    definition: Mirror
    status: MirrorStatus | None
    step: tuple[float, float] | None
    progress: RunProgress | None
    held: bool
    size_text: str


class _CachedView(NamedTuple):
    """A view, what it was made of, and from when until when it is right.

    `elsewhere` are the last runs on workers that do not have the mirror any more, which its history tells.
    """

    told: tuple[_CopyInputs, ...]
    elsewhere: tuple[Run | None, ...]
    since: float
    until: float
    view: MirrorView


_NOT_SYNCED = frozenset({NEVER, AGE, LAG})
"""Causes that say no more than that a mirror was not synced, where nobody wanted it to be."""

_UNHEARD = _WorkerInputs(Worker(""))
"""For a mirror whose worker is neither declared nor was ever heard of."""

_Groups = list[tuple[str, list[Mirror]]]
"""The definitions of each mirror's copies, by name."""


class Evaluator:
    """Turns facts into what is so, and remembers what it found."""

    def __init__(self) -> None:
        self._declared: DeclaredConfig | None = None
        self._foreign: frozenset[tuple[str, str]] = frozenset()
        self._groups: _Groups = []
        self._cached: dict[str, _CachedView] = {}

    def evaluate(self, facts: Facts, now: float) -> Snapshot:
        """What is so at `now` (Unix seconds)."""
        facts = facts._replace(workers=tuple([future.heard(state, now) for state in facts.workers]))
        hosts, elsewhere = _hosts(facts), _elsewhere(facts)
        self._cached = {
            name: self._mirror(tuple([_told(each, facts, hosts) for each in definitions]), elsewhere[name], hosts, now)
            for name, definitions in self._grouped(facts)
        }
        judged = self._cached.values()
        views = tuple([item.view for item in judged])
        moments = [host.silent_at for host in hosts.values() if host.silent_at is not None and host.silent_at > now]
        moments.append(min((item.until for item in judged), default=math.inf))
        changes_at = min(moments)
        declared = facts.declared
        return Snapshot(
            made_at=now,
            changes=facts.changes,
            site=declared.site if declared else Site(DEFAULT_TITLE),
            revision=declared.revision if declared else None,
            committed_at=declared.committed_at if declared else None,
            mirrors=views,
            counts=_counts(views),
            workers=_workers(facts, views, hosts, now),
            problems=(*(declared.problems if declared else ()), *facts.damaged.values()),
            refused=facts.refused,
            unreachable=facts.unreachable,
            changes_at=None if changes_at == math.inf else changes_at,
        )

    def _grouped(self, facts: Facts) -> _Groups:
        foreign = _foreign(facts)
        if facts.declared is None or facts.declared is not self._declared or foreign != self._foreign:
            self._declared, self._foreign, self._groups = facts.declared, foreign, _groups(facts, foreign)
        return self._groups

    def _mirror(
        self, told: tuple[_CopyInputs, ...], elsewhere: list[Run | None], hosts: Mapping[str, _WorkerInputs], now: float
    ) -> _CachedView:
        """The former view if nothing that it was made of has changed and no moment has passed at which it turns."""
        name, past = told[0].definition.name, tuple(elsewhere)
        before = self._cached.get(name)
        if (
            before is not None
            and (before.told, before.elsewhere) == (told, past)
            and before.since <= now < before.until
        ):
            return before
        copies = [_copy(item, hosts.get(item.definition.worker, _UNHEARD), now) for item in told]
        moments = [at for copy in copies for at in (copy.stale_at, copy.unknown_at, copy.progress_until)]
        moments += [copy.due_at for copy in copies]
        moments += [future.believed(item.status, now).changes_at for item in told if item.status]
        until = min((at for at in moments if at is not None and at > now), default=math.inf)
        return _CachedView(told, past, now, until, _mirror(name, copies))


def evaluate(facts: Facts, now: float) -> Snapshot:
    """Turn facts into what is so at `now` (Unix seconds), once."""
    return Evaluator().evaluate(facts, now)


def _groups(facts: Facts, foreign: Iterable[tuple[str, str]]) -> _Groups:
    """What is declared and what workers of tunasync have; with nothing declared all that any worker has."""
    declared = facts.declared.mirrors if facts.declared else ()
    known = {(each.worker, name) for each in declared for name in (each.name, *each.formerly)}
    told = facts.statuses if facts.declared is None else sorted(set(foreign) - known)
    groups: dict[str, list[Mirror]] = {}
    for definition in (*declared, *(_undeclared(key[0], facts.statuses[key]) for key in told)):
        groups.setdefault(definition.name, []).append(definition)
    return sorted(groups.items())


def _elsewhere(facts: Facts) -> Mapping[str, list[Run | None]]:
    """The last runs that workers tell of mirrors which they are not declared to have, by today's names."""
    found: dict[str, list[Run | None]] = defaultdict(list)
    if facts.declared is not None:
        carried = {(each.worker, each.name) for each in facts.declared.mirrors}
        current = current_names(facts.declared.mirrors)
        for worker, name in sorted(facts.statuses.keys() - carried):
            found[current.get(name, name)].append(facts.statuses[worker, name].run)
    return found


def _undeclared(worker: str, status: MirrorStatus) -> Mirror:
    """A worker that probes was told to, by which limits nobody knows here: the usual ones are taken."""
    role = "master" if status.is_master else "slave"
    return Mirror(
        status.mirror, worker, "", status.upstream, role=role, freshness=FreshnessFile("") if status.probe else None
    )


def _foreign(facts: Facts) -> frozenset[tuple[str, str]]:
    """The mirrors of workers of tunasync, which no configuration declares."""
    workers = {state.name for state in facts.workers if state.journal == TUNASYNC}
    return frozenset(key for key in facts.statuses if key[0] in workers) if workers else frozenset()


def _hosts(facts: Facts) -> dict[str, _WorkerInputs]:
    """Every worker that is declared or was heard of."""
    declared = facts.declared.workers if facts.declared else {}
    hosts = {name: _WorkerInputs(definition) for name, definition in declared.items()}
    foreign = silence.of_tunasync(facts)
    return hosts | {
        state.name: _host(declared.get(state.name) or Worker(state.name), state, foreign.get(state.name))
        for state in facts.workers
    }


def _host(definition: Worker, state: WorkerState, jobs: Iterable[MirrorStatus] | None) -> _WorkerInputs:
    """`jobs` are those of a worker of tunasync, None for one of ours."""
    silent_after = float(definition.silent_after)
    if jobs is not None:
        silent_at = silence.silent_at(state.last_seen, silent_after, jobs)
        step = silent_after, silent_at  # it may become earlier as well, and is coarse already
    else:
        silent_at = state.last_seen + silent_after
        step = silent_after, silent_at // (silent_after / STEPS)
    progress = {item.mirror: item for item in state.progress}
    return _WorkerInputs(definition, silent_at, step, state.last_seen + LIVE, progress, state.held, jobs is not None)


def _told(definition: Mirror, facts: Facts, hosts: Mapping[str, _WorkerInputs]) -> _CopyInputs:
    host = hosts.get(definition.worker, _UNHEARD)
    progress = (host.progress.get(name) for name in (definition.name, *definition.formerly))
    size = facts.sizes.get((definition.worker, definition.name), "")
    return _CopyInputs(
        definition, _status(definition, facts), host.step, next(filter(None, progress), None), host.held, size
    )


def _status(definition: Mirror, facts: Facts) -> MirrorStatus | None:
    """What the worker says of a mirror; what it said of a former name counts until there is more."""
    own = facts.statuses.get((definition.worker, definition.name))
    if not definition.formerly or (own is not None and own.last_success_at is not None):
        return own
    told = (facts.statuses.get((definition.worker, name)) for name in definition.formerly)
    former = next(filter(None, told), None)
    if own is None or former is None:
        return former._replace(mirror=definition.name) if former else own
    return own._replace(last_success_at=former.last_success_at, size=former.size if own.size is None else own.size)


def _copy(told: _CopyInputs, host: _WorkerInputs, now: float) -> Copy:
    definition, status = told.definition, told.status
    if status is None:
        status = MirrorStatus(definition.name, definition.upstream, definition.role == "master", NONE)
    told_success = status.last_success_at
    status = future.believed(status, now).status
    status = status._replace(upstream=without_secrets(status.upstream), probe=_shown(status.probe))
    if host.held or (status.status in OFF and not host.is_foreign):
        status = status._replace(next_run_at=None)
    due_at = _due_at(status, host)
    success = status.last_success_at
    found = freshness(definition, success, status.probe, host.silent_at, now)
    if success is None and told_success is not None:
        found = Freshness(UNKNOWN, CLOCK, None, None)
    elif status.status in OFF and found.cause in _NOT_SYNCED:
        found = found._replace(cause=SWITCHED_OFF)
    live = told.progress if told.progress and now < host.live_until and _is_of(status, told.progress) else None
    return Copy(
        definition.worker,
        definition,
        status,
        *found,
        counting(definition, success, status.probe),
        live,
        host.live_until if live else None,
        host.held,
        due_at,
        due_at is not None and now >= due_at,
        told.size_text,
    )


def _due_at(status: MirrorStatus, host: _WorkerInputs) -> float | None:
    """From when the next run is due and no longer planned: at once where a run waits or is under way, which is the one
    that was planned. None where none is planned, and for a worker of tunasync, whose schedule is shown as it stands."""
    if status.next_run_at is None or host.is_foreign:
        return None
    return status.next_run_at + (0.0 if status.status == QUEUED or status.status in ACTIVE else LATE)


def _shown(probe: Probe | None) -> Probe | None:
    """What went wrong can name the upstream, too."""
    return probe._replace(problem=without_secrets(probe.problem)) if probe and probe.problem else probe


def _is_of(status: MirrorStatus, progress: RunProgress) -> bool:
    """Whether this is the progress of the run that is under way, and not of one that has ended."""
    return status.status in ACTIVE and status.run is not None and progress.at >= (status.run.launched_at or 0)


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


def _counts(views: Iterable[MirrorView]) -> Mapping[str, int]:
    found = Counter([view.verdict for view in views])
    return {verdict: found[verdict] for verdict in FRESHNESS}


def _workers(
    facts: Facts, views: Iterable[MirrorView], hosts: Mapping[str, _WorkerInputs], now: float
) -> tuple[WorkerView, ...]:
    states = {state.name: state for state in facts.workers}
    carried = [
        (copy.worker, name) for view in views for copy in view.copies for name in (view.name, *copy.definition.formerly)
    ]
    mirrors = Counter([copy.worker for view in views for copy in view.copies])
    left = {key for key, status in facts.statuses.items() if status.status in ACTIVE}.difference(carried)
    return tuple(
        WorkerView(
            name,
            host.definition,
            states.get(name),
            host.silent_at,
            host.silent_at is not None and now >= host.silent_at,
            _standing(facts, states.get(name)),
            mirrors[name],
            _clock(states.get(name), now),
            frozenset([mirror for worker, mirror in left if worker == name]),
        )
        for name, host in sorted(hosts.items())
    )


def _clock(state: WorkerState | None, now: float) -> ClockSkew | None:
    if state is None or state.clock_ahead is None or state.clock_at is None or now >= state.clock_at + CLOCK_SHOWN:
        return None
    return ClockSkew(state.clock_ahead, state.clock_at)


def _standing(facts: Facts, state: WorkerState | None) -> str | None:
    if facts.declared is None or state is None or state.revision is None:
        return None
    if state.revision == facts.declared.revision:
        return CURRENT
    if facts.refused is not None and state.revision == facts.refused.revision:
        return REFUSED
    return BEHIND if state.revision in facts.revisions else OTHER
