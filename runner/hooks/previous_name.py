"""Refuse a run of a renamed mirror that would fetch everything again, since its files are in the old directory.

In the table this hook is before those that create missing directories.
"""

from runner.base.mirror_paths import left_behind, moving
from runner.plugin_api import Abort, Job
from schemas.states import REFUSED

OPTIONS = frozenset({"formerly", "mirror_dir"})


def pre_job(job: Job) -> None:
    """Refuse if the directory has no files and that of a previous name has some: an operator must move them."""
    old = left_behind(job.mirror, job.paths)
    if old:
        todo = f"move them with `{moving(job.mirror, old, job.directory)}`, or set `mirror_dir: {old}`"
        raise Abort(REFUSED, f"the files of {job.mirror.name} are still in {old}, under its previous name; {todo}")
