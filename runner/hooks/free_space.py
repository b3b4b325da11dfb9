"""Refuses a run that would fill the disk: it stands after the hook that sees to the mirror's directory."""

import os

from runner.plugin_api import Abort, Job
from schemas.states import REFUSED
from schemas.units import format_size

OPTIONS = frozenset({"min_free_space"})


def pre_job(job: Job) -> None:
    """Refuse when the directory's file system has too little space, or no room for another file."""
    least = job.mirror.min_free_space
    if least == 0:
        return
    found = os.statvfs(job.directory)
    free = found.f_bavail * found.f_frsize
    if free < least:
        what = f"{format_size(free)} free, less than `min_free_space` {format_size(least)}; make room or lower it"
        raise Abort(REFUSED, f"{job.directory} has {what}")
    if found.f_files and not found.f_favail:  # some file systems do not count what files they have room for
        raise Abort(REFUSED, f"{job.directory} has no free inode; remove some files")
