"""Which JSON documents the site has. Times are Unix seconds, sizes bytes, durations seconds."""

from collections.abc import Iterable, Mapping
from typing import Any

from schemas import VERSION
from schemas.report import MirrorStatus, Override, Run, RunProgress
from schemas.states import OFF
from sitegen.messages.model import PastRun
from sitegen.site import future
from sitegen.site.formats import segment
from sitegen.site.snapshot import Copy, MirrorView, Snapshot, WorkerView

GENERATOR = f"Skipjack {VERSION}"


def public_url(snapshot: Snapshot, name: str) -> str | None:
    """Return the URL of a mirror's files, or None if the site has no URL."""
    return f"{snapshot.site.url}/{segment(name)}/" if snapshot.site.url else None


def head(snapshot: Snapshot) -> dict[str, Any]:
    """Return the keys that every document begins with."""
    return {
        "generator": GENERATOR,
        "generated_at": snapshot.made_at,
        "revision": snapshot.revision,
        "committed_at": snapshot.committed_at,
    }


def tail(snapshot: Snapshot) -> dict[str, Any]:
    """Return the keys of `status.json` after its head and its mirrors."""
    site = snapshot.site
    return {
        "site": {"title": site.title, "url": site.url or None, "time_zone": site.time_zone},
        "counts": dict(snapshot.counts),
        "workers": [_worker(worker) for worker in snapshot.workers],
        "problems": list(snapshot.problems),
        **notes(snapshot),
    }


def notes(snapshot: Snapshot) -> dict[str, Any]:
    """Return why the newest revision is not in use: it was rejected, the repository is unreachable, or both."""
    refused, unreachable = snapshot.refused, snapshot.unreachable
    return {
        "refusal": refused.reason if refused else None,
        "refused_revision": refused.revision if refused else None,
        "unreachable": {"since": unreachable.since, "reason": unreachable.reason} if unreachable else None,
    }


def mirror(view: MirrorView, url: str | None) -> dict[str, Any]:
    """Return a mirror's object in `status.json`."""
    definition, status = view.definition, view.best.status
    return {
        "name": view.name,
        "title": definition.title or view.name,
        "description": definition.description,
        "homepage": definition.homepage or None,
        "category": definition.category or None,
        "formerly": list(definition.formerly),
        "url": url,
        "freshness": view.verdict,
        "cause": view.cause,
        "stale_at": view.stale_at,
        "unknown_at": view.unknown_at,
        "status": status.status,
        "last_success_at": status.last_success_at,
        "upstream": status.upstream,
        "size": status.size,
        "lag": view.best.lag,
        "held": view.best.held,
        "override": override(view.best.status),
        "progress": _progress(view.best.progress),
        "copies": [_copy(copy) for copy in view.copies],
    }


def alone(snapshot: Snapshot, document: Mapping[str, Any], history: Iterable[PastRun]) -> dict[str, Any]:
    """Return `mirrors/NAME.json`: the result of `mirror`, with the last runs."""
    past = [{"worker": item.worker} | _run(future.without(item.run, snapshot.made_at)) for item in history]
    return {**head(snapshot), **document, "runs": past}


def _copy(copy: Copy) -> dict[str, Any]:
    status = copy.status
    return {
        "worker": copy.worker,
        "is_master": status.is_master,
        "freshness": copy.verdict,
        "cause": copy.cause,
        "stale_at": copy.stale_at,
        "unknown_at": copy.unknown_at,
        "status": status.status,
        "upstream": status.upstream,
        "last_started_at": status.last_started_at,
        "last_ended_at": status.last_ended_at,
        "last_success_at": status.last_success_at,
        "next_run_at": status.next_run_at,
        "size": status.size,
        "lag": copy.lag,
        "held": copy.held,
        "override": override(status),
        "probe": _probe(copy),
        "progress": _progress(copy.progress),
        "run": _run(status.run) | {"log_tail": status.run.log_tail} if status.run else None,
    }


def override(status: MirrorStatus) -> dict[str, Any] | None:
    """Return who paused or disabled a mirror, with null for values that its worker does not report."""
    if status.status not in OFF:
        return None
    kind, since, by, reason = status.override or Override(status.status)
    return {"kind": kind, "since": since, "by": by or None, "reason": reason or None}


def _probe(copy: Copy) -> dict[str, Any] | None:
    """Return the worker's last comparison, whether or not it counts for freshness."""
    probe, rule = copy.status.probe, copy.definition.freshness
    if probe is None or rule is None:
        return None
    return probe._asdict() | {"file": probe.file or rule.file or None, "counts": copy.probe is not None}


def _progress(progress: RunProgress | None) -> dict[str, Any] | None:
    if progress is None:
        return None
    plain = progress._asdict()
    del plain["mirror"]
    return plain


def _run(run: Run) -> dict[str, Any]:
    plain = run._asdict()
    # The history is read without logs, so an empty text here would be wrong.
    del plain["log_tail"]
    return plain


def _worker(worker: WorkerView) -> dict[str, Any]:
    state = worker.state
    return {
        "name": worker.name,
        "description": worker.definition.description,
        "last_seen_at": (state.last_seen or None) if state else None,
        "silent_at": worker.silent_at,
        "silent": worker.silent,
        "revision": state.revision if state else None,
        "standing": worker.standing,
        "version": state.version if state else None,
        "clock_skew": state.sent_at - state.last_seen if state else None,
        "clock_notice": worker.clock._asdict() if worker.clock else None,
        "slots_total": state.slots_total if state else worker.definition.slots,
        "slots_busy": state.slots_busy if state else None,
        "held": state.held if state else None,
        "mirrors": worker.mirrors,
        "exported_policy": worker.exported,
        "leftovers": state.leftovers if state else None,
        "rejected": state.rejected if state else None,
        "signer": state.signer if state else None,
        "signing_key": state.signing_key if state else None,
        "pinned_until": state.pinned_until if state else None,
        "pinned_by": state.pinned_by if state else None,
        "pin_reason": state.pin_reason if state else None,
        "problems": [problem._asdict() for problem in state.problems] if state else [],
    }
