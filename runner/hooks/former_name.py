"""Refuses a run that would fetch everything again, since the files are still where a former name has them.

It stands before the hooks that create what is missing.
"""

from runner.base.mirror_paths import left_behind, moving
from runner.plugin_api import Abort, Job
from schemas.states import REFUSED

OPTIONS = frozenset({"formerly", "mirror_dir"})


def pre_job(job: Job) -> None:
    """Refuse while the directory has no files and that of a former name has some; a person moves them, or says so."""
    old = left_behind(job.mirror, job.paths)
    if old:
        todo = f"move them with `{moving(job.mirror, old, job.directory)}`, or set `mirror_dir: {old}`"
        raise Abort(REFUSED, f"the files of {job.mirror.name} are still in {old}, under its previous name; {todo}")
