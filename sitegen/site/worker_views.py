"""What pages show of the workers: which are offline, whose clocks were wrong, how far each is behind.

A pure function of the store's facts and `now`, as `evaluate`, which needs the same for the workers' mirrors.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from schemas.records import Worker
from schemas.report import MirrorStatus, RunProgress
from schemas.states import ACTIVE
from sitegen.messages.model import Facts, WorkerState
from sitegen.site import silence
from sitegen.site.snapshot import BEHIND, CURRENT, MISSING, OTHER, OUTDATED, REFUSED, ClockSkew, MirrorView, WorkerView

STEPS = 4
"""Number of coarse steps in a worker's `silent_after`."""

LIVE = 300.0
"""Seconds after a heartbeat for which its progress is shown."""

CLOCK_SHOWN = 7 * 86400.0
"""Seconds for which a wrong clock is shown afterwards: times that it affected may be shown for days."""


class WorkerInputs(NamedTuple):
    """The inputs from a worker to the views of its mirrors; `step` stays the same while `silent_at` moves a little.

    `is_foreign` means a worker of tunasync.
    """

    definition: Worker
    silent_at: float | None = None
    step: tuple[float, float] | None = None
    live_until: float = 0.0
    progress: Mapping[str, RunProgress] = {}
    held: bool = False
    is_foreign: bool = False


NEVER_SEEN = WorkerInputs(Worker(""))
"""For a mirror whose worker is neither declared nor was ever seen."""


def hosts_of(facts: Facts) -> dict[str, WorkerInputs]:
    """Return every worker that is declared or was ever seen."""
    declared = facts.declared.workers if facts.declared else {}
    hosts = {name: WorkerInputs(definition) for name, definition in declared.items()}
    foreign = silence.of_tunasync(facts)
    return hosts | {
        state.name: _host(declared.get(state.name) or Worker(state.name), state, foreign.get(state.name))
        for state in facts.workers
    }


def _host(definition: Worker, state: WorkerState, jobs: Iterable[MirrorStatus] | None) -> WorkerInputs:
    """Return what the views of a worker need; `jobs` are those of a worker of tunasync, None for a Skipjack worker."""
    silent_after = float(definition.silent_after)
    if jobs is not None:
        silent_at = silence.silent_at(state.last_seen, silent_after, jobs)
        step = silent_after, silent_at  # it may become earlier as well, and is coarse already
    else:
        silent_at = state.last_seen + silent_after
        step = silent_after, silent_at // (silent_after / STEPS)
    progress = {item.mirror: item for item in state.progress}
    return WorkerInputs(definition, silent_at, step, state.last_seen + LIVE, progress, state.held, jobs is not None)


def worker_views(
    facts: Facts, views: Iterable[MirrorView], hosts: Mapping[str, WorkerInputs], now: float
) -> tuple[WorkerView, ...]:
    """Return what pages show of each of these workers at `now` (Unix seconds); `views` are those of all mirrors."""
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
            _exported(facts, states.get(name)),
        )
        for name, host in sorted(hosts.items())
    )


def _clock(state: WorkerState | None, now: float) -> ClockSkew | None:
    if state is None or state.clock_ahead is None or state.clock_at is None or now >= state.clock_at + CLOCK_SHOWN:
        return None
    return ClockSkew(state.clock_ahead, state.clock_at)


def _exported(facts: Facts, state: WorkerState | None) -> str | None:
    """Return whether the config repository has the policy that a worker reports."""
    if facts.declared is None or state is None or state.policy is None or state.name not in facts.declared.workers:
        return None
    found = facts.declared.policies.get(state.name)
    if found is None:
        return MISSING
    return CURRENT if found == state.policy else OUTDATED


def _standing(facts: Facts, state: WorkerState | None) -> str | None:
    if facts.declared is None or state is None or state.revision is None:
        return None
    if state.revision == facts.declared.revision:
        return CURRENT
    if facts.refused is not None and state.revision == facts.refused.revision:
        return REFUSED
    return BEHIND if state.revision in facts.revisions else OTHER
