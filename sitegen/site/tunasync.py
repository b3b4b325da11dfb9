"""The manager's lists in the wire format of tunasync 0.10, for clients that sites already have.

Those clients decode strictly: an unset time is Go's zero time, `_ts` are integers, only seven statuses exist, and an
empty list is `[]`. Everything else is under the key `skipjack`, which they ignore.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from schemas.states import SUCCESS, TO_TUNASYNC
from schemas.units import tunasync_size
from sitegen.messages.model import WorkerState
from sitegen.messages.tunasync_rules import ZERO_RFC3339
from sitegen.site.snapshot import Copy, MirrorView, Snapshot

ZERO_TEXT = "0001-01-01 00:00:00 +0000"
ZERO_TS = -62135596800
"""Go's zero time, a time that was never set, in the two forms of the list of jobs."""

_TIMES = ("last_update", "last_started", "last_ended", "next_schedule")


def workers(states: Iterable[WorkerState]) -> list[dict[str, Any]]:
    """Return `GET /workers`: all workers ever seen. Skipjack's workers have no URL, because they accept no calls."""
    return [
        {
            "id": state.name,
            "url": "",
            "token": "REDACTED",  # the word that tunasync's own manager writes
            "last_online": rfc3339(state.last_seen),
            "last_register": rfc3339(state.first_seen),
        }
        for state in sorted(states, key=lambda state: state.name)
    ]


def worker_jobs(snapshot: Snapshot, worker: str) -> list[dict[str, Any]]:
    """Return `GET /workers/ID/jobs`: this worker's copies, sorted by name."""
    copies = [copy for mirror in snapshot.mirrors for copy in mirror.copies if copy.worker == worker]
    return [_status(copy) for copy in copies]


def rfc3339(at: float | None) -> str:
    """Format Unix seconds as Go does: UTC, without trailing zeros in the fraction; None as Go's zero time."""
    if at is None:
        return ZERO_RFC3339
    text = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return text.rstrip("0").rstrip(".") + "Z"


def _times(copy: Copy) -> tuple[float | None, ...]:
    """Return the four times in tunasync's order. After a success the end of the run equals the last update.

    A next run that is due is left out: clients take a time in the past for an error.
    """
    status = copy.status
    ended = status.last_success_at if status.status == SUCCESS else status.last_ended_at
    planned = None if copy.is_due else status.next_run_at
    return status.last_success_at, status.last_started_at, ended, planned


def job(snapshot: Snapshot, mirror: MirrorView) -> dict[str, Any]:
    """Return one mirror of the list of jobs, which `GET /jobs` and `static/tunasync.json` are."""
    zone = ZoneInfo(snapshot.site.time_zone)
    shown = min(mirror.copies, key=_preference)
    status = shown.status
    plain: dict[str, Any] = {
        "name": mirror.name,
        "is_master": status.is_master,
        "status": TO_TUNASYNC[status.status],
    }
    for key, at in zip(_TIMES, _times(shown), strict=True):
        plain[key] = _text(at, zone)
        plain[f"{key}_ts"] = ZERO_TS if at is None else int(at)
    plain |= {"upstream": status.upstream, "size": shown.size_text or tunasync_size(status.size)}
    plain["skipjack"] = {
        "status": status.status,
        "worker": shown.worker,
        "freshness": mirror.verdict,
        "cause": mirror.cause,
        "stale_at": mirror.stale_at,
        "unknown_at": mirror.unknown_at,
    }
    return plain


def _preference(copy: Copy) -> tuple[bool, float]:
    """Sort key: the master first, else the copy with the most recent success."""
    return not copy.status.is_master, -(copy.status.last_success_at or 0)


def _status(copy: Copy) -> dict[str, Any]:
    status = copy.status
    return {
        "name": status.mirror,
        "worker": copy.worker,
        "is_master": status.is_master,
        "status": TO_TUNASYNC[status.status],
        **{key: rfc3339(at) for key, at in zip(_TIMES, _times(copy), strict=True)},
        "upstream": status.upstream,
        "size": tunasync_size(status.size),
        "error_msg": status.run.reason if status.run else "",
        "skipjack": {"status": status.status, "freshness": copy.verdict, "cause": copy.cause},
    }


def _text(at: float | None, zone: ZoneInfo) -> str:
    return ZERO_TEXT if at is None else datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S %z")
