"""Refuse a run in a missing or empty directory in which the last success left files, and one with a file in its place.

An unmounted disk and a moved folder look like this. The run would fetch everything again, perhaps onto the wrong disk.
A directory with only empty folders counts as empty: they may be mount points. In the table this hook is before those
that create missing directories.
"""

import os
import time

from runner.base.mirror_paths import has_files, in_the_way, is_missing_or_empty, moving
from runner.journal.last_success import Past, identity_of
from runner.plugin_api import Abort, Job
from schemas.states import REFUSED

OPTIONS = frozenset({"mirror_dir", "mirror_subdir"})


def pre_job(job: Job) -> None:
    """Refuse, unless the operator allows it for this run or the previous run itself emptied this directory.

    A file in the place of the directory is always refused: it stays until somebody moves it.
    """
    past, directory = job.past, job.directory
    if path := in_the_way(directory):
        raise Abort(REFUSED, f"cannot sync into {directory}: {path} is not a directory; move it away")
    if not past.had_files or not is_missing_or_empty(directory):
        return
    if job.from_empty:
        job.past = Past()
        job.starts_anew = True
        return
    if past.emptied is None or identity_of(directory) != past.emptied:
        raise Abort(REFUSED, _reason(job, "empty" if os.path.isdir(directory) else "missing"))


def _reason(job: Job, how: str) -> str:
    past, directory = job.past, job.directory
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(past.success_at))
    place = past.files_in or directory
    todo = "mount the disk or put the files back"
    if place != directory and has_files(place):
        todo = f"move them with `{moving(job.mirror, place, directory)}`"
    where = "in it" if place == directory else f"in {place}"
    again = f"`skipjack run {job.mirror.name} --from-empty` fetches everything again"
    return f"{directory} is {how}, but the last success ({day}) left files {where}; {todo}. {again}"
