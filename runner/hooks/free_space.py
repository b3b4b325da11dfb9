"""Refuse a run that could fill the disk. In the table this hook is after the one that creates the directory."""

import os

from runner.plugin_api import Abort, Job
from schemas.states import REFUSED
from schemas.units import format_size

OPTIONS = frozenset({"min_free_space"})


def pre_job(job: Job) -> None:
    """Refuse if the directory's file system has too little free space, or no free inode."""
    least = job.mirror.min_free_space
    if least == 0:
        return
    found = os.statvfs(job.directory)
    free = found.f_bavail * found.f_frsize
    if free < least:
        what = f"{format_size(free)} free, less than `min_free_space` {format_size(least)}; make room or lower it"
        raise Abort(REFUSED, f"{job.directory} has {what}")
    if found.f_files and not found.f_favail:  # file systems without a fixed number of inodes report 0 for both
        raise Abort(REFUSED, f"{job.directory} has no free inode; remove some files")
