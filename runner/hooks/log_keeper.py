"""Keeps the logs: a file of its own for each attempt, `latest` pointing to the newest, the old ones removed.

Each mirror has a folder of its own, so that one mirror's logs are never taken for another's.
"""

import contextlib
import os
import time

from runner.api import Abort, Job
from schemas.states import FAILED

OPTIONS: frozenset[str] = frozenset()

KEPT = 10
"""Logs kept for each mirror, as in tunasync."""


def pre_exec(job: Job) -> None:
    """Name the attempt's log, `NAME_2026-01-31_23-59-59_01.log` in UTC, create it, and remove the oldest ones."""
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S", time.gmtime())
    job.log_file = os.path.join(job.log_dir, f"{job.mirror.name}_{stamp}_{job.attempt:02d}.log")
    try:
        os.makedirs(job.log_dir, mode=0o755, exist_ok=True)
        os.close(os.open(job.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644))
        _point_latest(job)
        _remove_old(job)
    except OSError as error:
        raise Abort(FAILED, f"the log {job.log_file} cannot be written: {error.strerror}") from error


def post_fail(job: Job) -> None:
    """Mark the log of a failed attempt."""
    failed = f"{job.log_file}.fail"
    os.replace(job.log_file, failed)
    job.log_file = failed
    _point_latest(job)


def _point_latest(job: Job) -> None:
    aside = os.path.join(job.log_dir, ".latest.new")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside)
    os.symlink(os.path.basename(job.log_file), aside)
    os.replace(aside, os.path.join(job.log_dir, "latest"))


def _remove_old(job: Job) -> None:
    names = sorted(name for name in os.listdir(job.log_dir) if name.endswith((".log", ".log.fail")))
    for name in names[:-KEPT]:
        os.unlink(os.path.join(job.log_dir, name))
