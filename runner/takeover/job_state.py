"""Which state in the journal does a job of tunasync become? No I/O."""

from typing import NamedTuple

from runner.takeover.old_manager import OldJob
from schemas.clock.freshness import SLACK
from schemas.states import ACTIVE, FAILED, INTERRUPTED, NONE, OFF, SUCCESS
from schemas.units import format_duration


class TakenState(NamedTuple):
    """The state of a mirror as its old worker left it; times in seconds since 1970 UTC, the size in bytes.

    `override` is `paused`, `disabled`, or empty. `failures` is 1 after a failed run: tunasync has no back-off.
    """

    status: str
    override: str
    started_at: float | None
    ended_at: float | None
    success_at: float | None
    size: int | None

    @property
    def failures(self) -> int:
        """Return how many runs failed since the last success, as far as they delay the next run."""
        return int(self.status == FAILED)


def not_usable(job: OldJob, now: float) -> str:
    """Return why the state of a job cannot be taken over; empty if it can."""
    ahead = max(_past(job), default=0.0) - now
    if ahead > SLACK:
        return f"its times there are {format_duration(ahead)} ahead of this machine's clock; correct the clocks first"
    return ""


def has_history(job: OldJob) -> bool:
    """Return whether a job ever ran, is running, or was paused or disabled."""
    return bool(_past(job)) or job.status in ACTIVE | OFF


def state_of(job: OldJob, now: float) -> TakenState:
    """Return the state that a job becomes.

    A sync that is in progress there, or was cut off by the stop of its worker, is one that was interrupted: the mirror
    is due once that worker has stopped.
    """
    started_at, ended_at, success_at = (
        None if at is None else min(at, now) for at in (job.started_at, job.ended_at, job.success_at)
    )
    ended_at = success_at if ended_at is None else ended_at
    override = job.status if job.status in OFF else ""
    return TakenState(_status(job), override, started_at, ended_at, success_at, job.size)


def _status(job: OldJob) -> str:
    if job.status in ACTIVE or job.cut_off:
        return INTERRUPTED
    if job.status in (SUCCESS, FAILED):
        return job.status
    if job.ended_at is None and job.success_at is None:
        return NONE
    # Paused, disabled, or enabled again since: both times are one instant after a success.
    return SUCCESS if job.success_at is not None and (job.ended_at or 0.0) <= job.success_at else FAILED


def _past(job: OldJob) -> list[float]:
    return [at for at in (job.started_at, job.ended_at, job.success_at) if at is not None]
