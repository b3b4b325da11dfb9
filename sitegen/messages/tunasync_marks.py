"""How a Go worker's job is shown while a command to stop or disable it is unconfirmed. No I/O.

A job is marked before its worker is called, because the worker answers only after its hooks. Without a clear answer the
mark stays, with a note, until the worker reports something that confirms or contradicts it. Times are
Unix seconds.
"""

from datetime import UTC, datetime
from typing import Any

from sitegen.messages.tunasync_rules import ZERO_RFC3339, TunasyncJob, override_of


def marked(job: TunasyncJob, status: str, since: float, by: str) -> TunasyncJob:
    """Return the job as paused or disabled, without a next run."""
    told = job.told | {"status": status, "next_schedule": ZERO_RFC3339}
    return job._replace(told=told, override=override_of(status, since, by))


def note(verb: str, worker: str, at: float, why: str) -> str:
    """Return the text for a command that the worker may or may not have executed."""
    moment = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{verb} was sent to worker {worker} at {moment}, but is not confirmed: {why}"


def unconfirmed(job: TunasyncJob, before: TunasyncJob, text: str) -> TunasyncJob:
    """Return the marked job with a note. It keeps its state from `before` the first unconfirmed command."""
    shown = before.unconfirmed or {**_shown(before), "override": before.override}
    override = job.override and job.override | {"reason": text}
    return job._replace(told=job.told | {"error_msg": text}, override=override, unconfirmed=shown)


def confirmed(job: TunasyncJob) -> TunasyncJob:
    """Return the job without its note: it is paused or disabled."""
    if job.unconfirmed is None:
        return job
    told = job.told | {"error_msg": job.unconfirmed["error_msg"]}
    return job._replace(told=told, override=job.override and job.override | {"reason": ""}, unconfirmed=None)


def contradicted(job: TunasyncJob) -> TunasyncJob:
    """Return the job as it was before a command that had no effect."""
    if job.unconfirmed is None:
        return job
    was = {key: value for key, value in job.unconfirmed.items() if key != "override"}
    return job._replace(told=job.told | was, override=job.unconfirmed["override"], unconfirmed=None)


def taken_back(job: TunasyncJob, before: TunasyncJob) -> TunasyncJob:
    """Return the job without the mark, because its worker rejected the command."""
    return job._replace(told=job.told | _shown(before), override=before.override, unconfirmed=before.unconfirmed)


def _shown(job: TunasyncJob) -> dict[str, Any]:
    return {key: job.told[key] for key in ("status", "error_msg", "next_schedule")}
