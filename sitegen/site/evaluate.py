"""How fresh each mirror is. A pure function of the store's facts and `now`; `worker_views` has the workers.

With a configuration the site's mirrors are those it declares, whether or not they ever ran; without one they are those
that workers report. A mirror on several workers is one mirror with several copies.

An `Evaluator` returns the same view object of a mirror until something about the mirror changes, so that its page is
not rendered again. Each heartbeat moves the moment at which a worker's mirrors turn unknown, so a view moves it in
coarse steps only. The verdict is still right, because the view is evaluated again when its moment comes.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas.addresses import without_secrets
from schemas.clock.freshness import SLACK, Freshness, counting, freshness
from schemas.config.rename_rules import current_names
from schemas.records import FreshnessFile, Mirror, Site
from schemas.report import MirrorStatus, Probe, Run, RunProgress
from schemas.states import ACTIVE, AGE, CLOCK, FRESHNESS, LAG, NEVER, NONE, OFF, QUEUED, SWITCHED_OFF, UNKNOWN
from sitegen.messages.model import TUNASYNC, DeclaredConfig, Facts
from sitegen.site import future
from sitegen.site.snapshot import Copy, MirrorView, Snapshot
from sitegen.site.worker_views import NEVER_SEEN, WorkerInputs, hosts_of, worker_views

DEFAULT_TITLE = "Mirrors"

LATE = SLACK
"""Seconds after its planned time when a run is shown as due: clocks may differ by less than that."""


class _CopyInputs(NamedTuple):
    """The inputs of one copy's view, except the time."""

    definition: Mirror
    status: MirrorStatus | None
    step: tuple[float, float] | None
    progress: RunProgress | None
    held: bool
    size_text: str


class _CachedView(NamedTuple):
    """A view, its inputs, and from when until when it is right.

    `elsewhere` are the last runs on workers that no longer have the mirror; they are in its history.
    """

    inputs: tuple[_CopyInputs, ...]
    elsewhere: tuple[Run | None, ...]
    since: float
    until: float
    view: MirrorView


_NOT_SYNCED = frozenset({NEVER, AGE, LAG})
"""Causes that mean only that a mirror was not synced, which a paused or disabled one is not meant to be."""

_Groups = list[tuple[str, list[Mirror]]]
"""The definitions of each mirror's copies, by mirror name."""


class Evaluator:
    """Turns facts into snapshots, and keeps views that have not changed."""

    def __init__(self) -> None:
        self._declared: DeclaredConfig | None = None
        self._foreign: frozenset[tuple[str, str]] = frozenset()
        self._groups: _Groups = []
        self._cached: dict[str, _CachedView] = {}

    def evaluate(self, facts: Facts, now: float) -> Snapshot:
        """Return the site at `now` (Unix seconds)."""
        # A last heartbeat in the future would keep a stopped worker online until then.
        facts = facts._replace(workers=tuple([future.last_seen_in_past(state, now) for state in facts.workers]))
        hosts, elsewhere = hosts_of(facts), _elsewhere(facts)
        self._cached = {
            name: self._mirror(
                tuple([_inputs(each, facts, hosts) for each in definitions]), elsewhere[name], hosts, now
            )
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
            workers=worker_views(facts, views, hosts, now),
            problems=(*(declared.problems if declared else ()), *facts.damaged.values()),
            refused=facts.refused,
            unreachable=facts.unreachable,
            changes_at=None if changes_at == math.inf else changes_at,
        )

    def _grouped(self, facts: Facts) -> _Groups:
        foreign = _foreign(facts)
        # Compared by identity: the facts keep the object until another revision is in use.
        if facts.declared is None or facts.declared is not self._declared or foreign != self._foreign:
            self._declared, self._foreign, self._groups = facts.declared, foreign, _groups(facts, foreign)
        return self._groups

    def _mirror(
        self,
        inputs: tuple[_CopyInputs, ...],
        elsewhere: list[Run | None],
        hosts: Mapping[str, WorkerInputs],
        now: float,
    ) -> _CachedView:
        """Return the previous view if none of its inputs has changed and no moment has passed at which it turns."""
        name, past = inputs[0].definition.name, tuple(elsewhere)
        before = self._cached.get(name)
        if (
            before is not None
            and (before.inputs, before.elsewhere) == (inputs, past)
            and before.since <= now < before.until
        ):
            return before
        copies = [_copy(item, hosts.get(item.definition.worker, NEVER_SEEN), now) for item in inputs]
        moments = [at for copy in copies for at in (copy.stale_at, copy.unknown_at, copy.progress_until)]
        moments += [copy.due_at for copy in copies]
        # A time that was left out because it lies ahead is shown once it has passed.
        moments += [future.believed(item.status, now).changes_at for item in inputs if item.status]
        until = min((at for at in moments if at is not None and at > now), default=math.inf)
        return _CachedView(inputs, past, now, until, _mirror(name, copies))


def _groups(facts: Facts, foreign: Iterable[tuple[str, str]]) -> _Groups:
    """Group declared mirrors and those of tunasync's workers by name; without a configuration all reported mirrors."""
    declared = facts.declared.mirrors if facts.declared else ()
    known = {(each.worker, name) for each in declared for name in (each.name, *each.formerly)}
    others = facts.statuses if facts.declared is None else sorted(set(foreign) - known)
    groups: dict[str, list[Mirror]] = {}
    for definition in (*declared, *(_undeclared(key[0], facts.statuses[key]) for key in others)):
        groups.setdefault(definition.name, []).append(definition)
    return sorted(groups.items())


def _elsewhere(facts: Facts) -> Mapping[str, list[Run | None]]:
    """Return the last runs of mirrors that workers report but are not declared to have, by current mirror names."""
    found: dict[str, list[Run | None]] = defaultdict(list)
    if facts.declared is not None:
        carried = {(each.worker, each.name) for each in facts.declared.mirrors}
        current = current_names(facts.declared.mirrors)
        for worker, name in sorted(facts.statuses.keys() - carried):
            found[current.get(name, name)].append(facts.statuses[worker, name].run)
    return found


def _undeclared(worker: str, status: MirrorStatus) -> Mirror:
    """Return a definition from a status alone. With a probe the default limits apply: the real ones are unknown."""
    role = "master" if status.is_master else "slave"
    return Mirror(
        status.mirror, worker, "", status.upstream, role=role, freshness=FreshnessFile("") if status.probe else None
    )


def _foreign(facts: Facts) -> frozenset[tuple[str, str]]:
    """Return the mirrors of tunasync's workers, which no configuration declares."""
    workers = {state.name for state in facts.workers if state.journal == TUNASYNC}
    return frozenset(key for key in facts.statuses if key[0] in workers) if workers else frozenset()


def _inputs(definition: Mirror, facts: Facts, hosts: Mapping[str, WorkerInputs]) -> _CopyInputs:
    host = hosts.get(definition.worker, NEVER_SEEN)
    progress = (host.progress.get(name) for name in (definition.name, *definition.formerly))
    size = facts.sizes.get((definition.worker, definition.name), "")
    return _CopyInputs(
        definition, _status(definition, facts), host.step, next(filter(None, progress), None), host.held, size
    )


def _status(definition: Mirror, facts: Facts) -> MirrorStatus | None:
    """Return the worker's status of a mirror. That of a previous name counts until the new one has a success."""
    own = facts.statuses.get((definition.worker, definition.name))
    if not definition.formerly or (own is not None and own.last_success_at is not None):
        return own
    statuses = (facts.statuses.get((definition.worker, name)) for name in definition.formerly)
    previous = next(filter(None, statuses), None)
    if own is None or previous is None:
        return previous._replace(mirror=definition.name) if previous else own
    return own._replace(last_success_at=previous.last_success_at, size=previous.size if own.size is None else own.size)


def _copy(inputs: _CopyInputs, host: WorkerInputs, now: float) -> Copy:
    definition, status = inputs.definition, inputs.status
    if status is None:
        status = MirrorStatus(definition.name, definition.upstream, definition.role == "master", NONE)
    reported_success = status.last_success_at
    status = future.believed(status, now).status
    status = status._replace(upstream=without_secrets(status.upstream), probe=_shown(status.probe))
    # No run starts there, whatever was planned before. A Go worker's schedule is shown as it was reported.
    if host.held or (status.status in OFF and not host.is_foreign):
        status = status._replace(next_run_at=None)
    due_at = _due_at(status, host)
    success = status.last_success_at
    found = freshness(definition, success, status.probe, host.silent_at, now)
    # It did succeed, but at a time that cannot be true. So this is unknown, and not "never".
    if success is None and reported_success is not None:
        found = Freshness(UNKNOWN, CLOCK, None, None)
    elif status.status in OFF and found.cause in _NOT_SYNCED:
        found = found._replace(cause=SWITCHED_OFF)
    progress = inputs.progress
    live = progress if progress and now < host.live_until and _is_of(status, progress) else None
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
        inputs.size_text,
    )


def _due_at(status: MirrorStatus, host: WorkerInputs) -> float | None:
    """Return when the next run is shown as due: at once if a run is queued or active, since that is the planned one.

    None if none is planned, and for a worker of tunasync, whose schedule is shown as reported.
    """
    if status.next_run_at is None or host.is_foreign:
        return None
    return status.next_run_at + (0.0 if status.status == QUEUED or status.status in ACTIVE else LATE)


def _shown(probe: Probe | None) -> Probe | None:
    """Return a probe to show: its problem can contain the upstream's address, so secrets are removed."""
    return probe._replace(problem=without_secrets(probe.problem)) if probe and probe.problem else probe


def _is_of(status: MirrorStatus, progress: RunProgress) -> bool:
    """Whether this is the progress of the current run, not of one that has ended."""
    return status.status in ACTIVE and status.run is not None and progress.at >= (status.run.launched_at or 0)


def _mirror(name: str, copies: list[Copy]) -> MirrorView:
    copies.sort(key=_rank)
    known = [copy.unknown_at for copy in copies if copy.unknown_at is not None]
    unknown_at = max(known, default=None)
    return MirrorView(name, copies[0].definition, copies[0], tuple(copies), _stale_at(copies, unknown_at), unknown_at)


def _rank(copy: Copy) -> tuple[int, bool, float, str]:
    """Sort key: the freshest copy first; among equally fresh ones the master, then the most recent success."""
    status = copy.status
    return FRESHNESS.index(copy.verdict), not status.is_master, -(status.last_success_at or 0), copy.worker


def _stale_at(copies: Iterable[Copy], unknown_at: float | None) -> float | None:
    """Return when the last copy stops being fresh; a copy that turns unknown before the others stops then."""
    moments = []
    for copy in copies:
        if copy.stale_at is None or copy.unknown_at is None:
            continue
        moments.append(copy.stale_at if copy.unknown_at == unknown_at else min(copy.stale_at, copy.unknown_at))
    return max(moments, default=None)


def _counts(views: Iterable[MirrorView]) -> Mapping[str, int]:
    found = Counter([view.verdict for view in views])
    return {verdict: found[verdict] for verdict in FRESHNESS}
