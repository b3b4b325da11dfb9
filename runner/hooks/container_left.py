"""Ends the container that an earlier run of the mirror may have left, whatever the definition says now.

Most runs find no marker and load nothing else of what has to do with containers.
"""

import os

from runner.plugin_api import Abort, Job
from schemas.states import FAILED

OPTIONS: frozenset[str] = frozenset()


def marker_of(job: Job) -> str:
    """The file that is there while the mirror's container may be."""
    return os.path.join(job.machine.state_dir, "containers", job.mirror.name)


def pre_exec(job: Job) -> None:
    """Remove the container that the marker names; Abort while it may still be at work."""
    marker = marker_of(job)
    if not os.path.lexists(marker):
        return
    from runner.hooks import container_end

    left = container_end.read_marker(marker)
    if left is not None and (reason := container_end.remove(*left, job.ask)):
        raise Abort(FAILED, f"a container {left[1]} may still be at work: {reason}")
    container_end.remove_marker(marker)
