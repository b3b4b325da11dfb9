"""Sees to it that the mirror's directory is there, is writable and lies where the machine's settings allow."""

import os

from runner.base.mirror_paths import real_paths
from runner.plugin_api import Abort, Job
from schemas.states import FAILED, REFUSED

OPTIONS = frozenset({"mirror_dir", "mirror_subdir"})


def pre_job(job: Job) -> None:
    """Create the directory (0755) when it is missing; refuse one that links lead out of the mirrors' root."""
    real = real_place(job)
    try:
        if not os.path.isdir(real):
            os.makedirs(real, mode=0o755, exist_ok=True)
    except OSError as error:
        raise Abort(FAILED, f"{job.directory} cannot be created: {error.strerror}") from error
    if not os.access(real, os.W_OK | os.X_OK):
        raise Abort(FAILED, f"{job.directory} is not writable for this user; check its owner")


def real_place(job: Job) -> str:
    """Where the directory is or will be, links followed; ends the run when that is not below the mirrors' root."""
    real, root = real_paths(job.directory, job.mirror_root)
    if os.path.commonpath([root, real]) != root or real == root:
        raise Abort(REFUSED, f"{job.directory} is really {real}, which does not lie below {root}; correct the link")
    if not os.path.isdir(job.mirror_root):
        raise Abort(FAILED, f"the folder {job.mirror_root} for all mirrors is missing; create or mount it")
    return real
