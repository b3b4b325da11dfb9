"""How a job of a Go worker is shown while a command that switches it off is under way, and what its end makes of it.

A job is marked before its worker is called, because the worker answers only after its hooks. When no clear answer
comes, the mark stays with a note, until the worker says something that confirms or contradicts it. All of it is pure.
"""

from datetime import UTC, datetime
from typing import Any

from sitegen.messages.tunasync_rules import ZERO_RFC3339, TunasyncJob, override_of


def marked(job: TunasyncJob, status: str, since: float, by: str) -> TunasyncJob:
    """The job as one that is switched off, which has no next run."""
    told = job.told | {"status": status, "next_schedule": ZERO_RFC3339}
    return job._replace(told=told, override=override_of(status, since, by))


def note(verb: str, worker: str, at: float, why: str) -> str:
    """What is said of a command that may have been carried out or not."""
    moment = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{verb} was sent to worker {worker} at {moment}, but is not confirmed: {why}"


def unconfirmed(job: TunasyncJob, before: TunasyncJob, text: str) -> TunasyncJob:
    """The marked job with a note; it remembers what it was `before` the first command that was not confirmed."""
    shown = before.unconfirmed or {**_shown(before), "override": before.override}
    override = job.override and job.override | {"reason": text}
    return job._replace(told=job.told | {"error_msg": text}, override=override, unconfirmed=shown)


def confirmed(job: TunasyncJob) -> TunasyncJob:
    """The job without its note: it is switched off."""
    if job.unconfirmed is None:
        return job
    told = job.told | {"error_msg": job.unconfirmed["error_msg"]}
    return job._replace(told=told, override=job.override and job.override | {"reason": ""}, unconfirmed=None)


def contradicted(job: TunasyncJob) -> TunasyncJob:
    """The job as it was before a command that has had no effect."""
    if job.unconfirmed is None:
        return job
    was = {key: value for key, value in job.unconfirmed.items() if key != "override"}
    return job._replace(told=job.told | was, override=job.unconfirmed["override"], unconfirmed=None)


def taken_back(job: TunasyncJob, before: TunasyncJob) -> TunasyncJob:
    """The job without a mark that its worker refused."""
    return job._replace(told=job.told | _shown(before), override=before.override, unconfirmed=before.unconfirmed)


def _shown(job: TunasyncJob) -> dict[str, Any]:
    return {key: job.told[key] for key in ("status", "error_msg", "next_schedule")}
