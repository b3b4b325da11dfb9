"""`GET /metrics`: the site's metrics in the format of Prometheus.

The lines of a mirror are cached until it changes, since making those of ten thousand takes a second. Ages are exported
as timestamps, as Prometheus recommends: `time() - …` in a query is the age.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from schemas.report import Run
from schemas.states import FRESH
from sitegen.site import documents
from sitegen.site.snapshot import Copy, MirrorView, Snapshot, WorkerView
from sitegen.storage import run_store
from sitegen.storage.store import Store
from sitegen.web import endpoint
from sitegen.web.access import Access
from sitegen.web.endpoint import Endpoint
from sitegen.web.gate import Gate
from sitegen.web.snapshot_cache import SnapshotCache

KEPT = 5.0
"""Seconds for which the output is cached while nothing changes: heartbeats are not changes, but change `last_seen`."""

_COPY = (
    ("status", "1 for the status of the last run"),
    ("last_success_timestamp_seconds", "time of the last successful run, by the worker's clock"),
    ("size_bytes", "size of the mirror"),
    ("duration_seconds", "duration of the transfer of the last run that has ended"),
    ("transferred_bytes", "bytes that the last run that has ended transferred"),
    ("fresh", "1 while this copy is fresh, 0 when it is stale or unknown"),
    ("not_fresh", "1 for the cause while it is stale or unknown"),
    ("off_since_timestamp_seconds", "time since which it is paused or disabled; 0 when not known"),
    ("lag_seconds", "how far it was behind its upstream when they were compared"),
    ("upstream_timestamp_seconds", "the time in the upstream's timestamp file"),
    ("compared_timestamp_seconds", "time of the comparison with its upstream, by the worker's clock"),
)
"""The gauges of each copy of a mirror, with their help."""

GaugeLines = tuple[str, ...]
"""One text for each gauge of _COPY."""


class Metrics:
    """The route, with its caches."""

    def __init__(self, access: Access, current: SnapshotCache, store: Store, gate: Gate) -> None:
        self._access = access
        self._gate = gate
        self._current = current
        self._runs = _EndedRuns(store)
        self._lock = threading.Lock()
        self._lines: dict[str, tuple[MirrorView, GaugeLines]] = {}
        self._written: tuple[int, float, bytes] = -1, 0.0, b""

    def endpoints(self) -> list[Endpoint]:
        """Return the row of this route."""
        return [Endpoint("GET", "/metrics", self.show, "Metrics for Prometheus.", "text", endpoint.ANYONE)]

    def show(self, request: Request) -> Response:
        """Return all metrics."""
        self._access.may_read(request, "metrics")
        return Response(self.text(time.monotonic()), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def text(self, now: float) -> bytes:
        """Return all metrics, cached while nothing changes; `now` is in seconds of any clock."""
        with self._lock:
            changes = self._current.changes()
            known, since, written = self._written
            if known != changes or not since <= now < since + KEPT:
                snapshot = self._current.snapshot()
                written = self._mirrors(snapshot) + _others(snapshot, self._gate)
                self._written = changes, now, written
            return written

    def _mirrors(self, snapshot: Snapshot) -> bytes:
        before, self._lines = self._lines, {}
        for view in snapshot.mirrors:
            held = before.get(view.name)
            # A view is replaced by another object when anything about its mirror changes.
            self._lines[view.name] = held if held and held[0] is view else (view, _lines(view, self._runs.last))
        parts = []
        for place, (name, help_text) in enumerate(_COPY):
            parts.append(f"# HELP skipjack_mirror_{name} {help_text}\n# TYPE skipjack_mirror_{name} gauge\n")
            parts += [lines[place] for _view, lines in self._lines.values()]
        return "".join(parts).encode()


class _EndedRuns:
    """The last run of each copy that has ended, cached while the next one is running."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: dict[tuple[str, str], tuple[int, Run | None]] = {}

    def last(self, copy: Copy) -> Run | None:
        """Return the last run of a copy that has ended, so that its metrics exist while the next one is running."""
        run, definition = copy.status.run, copy.definition
        key = copy.worker, definition.name
        if run is None or run.ended_at is not None:
            self._found.pop(key, None)
            return run
        if key not in self._found or self._found[key][0] != run.id:
            names = (definition.name, *definition.formerly)
            self._found[key] = run.id, run_store.last_ended(self._store, copy.worker, names)
        return self._found[key][1]


def _lines(view: MirrorView, last: Callable[[Copy], Run | None]) -> GaugeLines:
    copies = [_values(copy, last(copy)) for copy in view.copies]
    return tuple("".join(values[place] for values in copies) for place in range(len(_COPY)))


def _values(copy: Copy, run: Run | None) -> GaugeLines:
    """Return the lines of one copy with its last run that has ended.

    Label values need no escaping: names consist of letters, digits, `.`, `_` and `-`.
    """
    status, probe, off = copy.status, copy.probe, documents.override(copy.status)
    labels = f'mirror="{status.mirror}",worker="{copy.worker}"'
    values: Iterable[Any] = (
        1,
        status.last_success_at,
        status.size,
        run.duration if run else None,
        run.bytes if run else None,
        int(copy.verdict == FRESH),
        None if copy.cause is None else 1,
        (off["since"] or 0) if off else None,
        copy.lag,
        probe.upstream_at if probe else None,
        probe.at if probe else None,
    )
    more = {"status": f',status="{status.status}"', "not_fresh": f',cause="{copy.cause}"'}
    return tuple(
        "" if value is None else f"skipjack_mirror_{name}{{{labels}{more.get(name, '')}}} {value}\n"
        for (name, _help), value in zip(_COPY, values, strict=True)
    )


class _SiteCollector:
    """Collects the metrics of workers, connections and the whole site, which are few."""

    def __init__(self, snapshot: Snapshot, gate: Gate) -> None:
        self._snapshot = snapshot
        self._gate = gate

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics except those of mirrors."""
        counts = GaugeMetricFamily("skipjack_mirrors", "mirrors by freshness", labels=["freshness"])
        for verdict, count in self._snapshot.counts.items():
            counts.add_metric([verdict], count)
        yield counts
        yield GaugeMetricFamily("skipjack_changes", "number of the last change", value=self._snapshot.changes)
        yield from _workers(self._snapshot.workers)
        is_refused = int(self._snapshot.refused is not None)
        yield GaugeMetricFamily(
            "skipjack_revision_rejected", "1 while the manager rejects a revision", value=is_refused
        )
        yield GaugeMetricFamily("skipjack_connections", "open connections", value=self._gate.count)
        ended = CounterMetricFamily(
            "skipjack_connections_ended", "connections that the manager closed, by reason", labels=["reason"]
        )
        for reason, count in self._gate.ended.items():
            ended.add_metric([reason], count)
        yield ended


def _workers(workers: Iterable[WorkerView]) -> Iterator[Metric]:
    seen = GaugeMetricFamily(
        "skipjack_worker_last_seen_timestamp_seconds", "time of its last request", labels=["worker"]
    )
    silent = GaugeMetricFamily("skipjack_worker_silent", "1 when it is offline", labels=["worker"])
    revision = GaugeMetricFamily(
        "skipjack_worker_revision", "1 for the revision that it follows", labels=["worker", "revision", "standing"]
    )
    slots = GaugeMetricFamily("skipjack_worker_slots", "its slots for runs, total and busy", labels=["worker", "kind"])
    held = GaugeMetricFamily("skipjack_worker_held", "1 while no run starts until it is released", labels=["worker"])
    rejected = GaugeMetricFamily(
        "skipjack_worker_revision_rejected", "1 while it rejects the newest revision", labels=["worker"]
    )
    pinned = GaugeMetricFamily(
        "skipjack_worker_pinned_until_timestamp_seconds",
        "end of its pin to an earlier revision, while it has one",
        labels=["worker"],
    )
    for worker in workers:
        silent.add_metric([worker.name], int(worker.silent))
        if worker.state is not None:
            seen.add_metric([worker.name], worker.state.last_seen)
            revision.add_metric([worker.name, worker.state.revision or "", worker.standing or ""], 1)
            slots.add_metric([worker.name, "total"], worker.state.slots_total)
            slots.add_metric([worker.name, "busy"], worker.state.slots_busy)
            held.add_metric([worker.name], int(worker.state.held))
            rejected.add_metric([worker.name], int(worker.state.rejected is not None))
            if worker.state.pinned_until is not None:
                pinned.add_metric([worker.name], worker.state.pinned_until)
    return iter((seen, silent, revision, slots, held, rejected, pinned))


def _others(snapshot: Snapshot, gate: Gate) -> bytes:
    # Otherwise registering would collect everything once more, for the names.
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_SiteCollector(snapshot, gate))
    ProcessCollector(registry=registry)
    return generate_latest(registry)
