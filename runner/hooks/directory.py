"""Create the mirror's directory, and check that it is writable and below the root of the machine's settings."""

import os

from runner.base.mirror_paths import real_paths
from runner.plugin_api import Abort, Job
from schemas.states import FAILED, REFUSED

OPTIONS = frozenset({"mirror_dir", "mirror_subdir"})


def pre_job(job: Job) -> None:
    """Create the directory (mode 0755) if it is missing; refuse it if links lead out of the mirrors' root."""
    real = real_place(job)
    try:
        if not os.path.isdir(real):
            os.makedirs(real, mode=0o755, exist_ok=True)
    except OSError as error:
        raise Abort(FAILED, f"cannot create {job.directory}: {error.strerror}") from error
    if not os.access(real, os.W_OK | os.X_OK):  # at once, with the remedy, instead of an error for each file
        raise Abort(FAILED, f"cannot write to {job.directory} as this user; check its owner")


def real_place(job: Job) -> str:
    """Return the directory's path with all links followed; Abort if that is not below the mirrors' root."""
    real, root = real_paths(job.directory, job.mirror_root)
    if os.path.commonpath([root, real]) != root or real == root:
        raise Abort(REFUSED, f"{job.directory} is really {real}, which does not lie below {root}; correct the link")
    if not os.path.isdir(job.mirror_root):
        raise Abort(FAILED, f"the folder {job.mirror_root} for all mirrors is missing; create or mount it")
    return real
