"""Remove the container that an earlier run of the mirror may have left, also if it no longer names an image.

Most runs find no marker and load no other module for containers.
"""

import os

from runner.plugin_api import Abort, Job
from schemas.states import FAILED

OPTIONS: frozenset[str] = frozenset()


def marker_of(job: Job) -> str:
    """Return the marker file, which exists as long as the mirror may have a container."""
    return os.path.join(job.machine.state_dir, "containers", job.mirror.name)


def pre_exec(job: Job) -> None:
    """Remove the container that the marker names; Abort if it may still be running."""
    marker = marker_of(job)
    if not os.path.lexists(marker):
        return
    from runner.hooks import container_end  # loaded here, since few runs find a marker

    left = container_end.read_marker(marker)
    if left is not None and (reason := container_end.remove(*left, job.ask)):
        raise Abort(FAILED, f"cannot remove the container {left[1]} of an earlier run: {reason}")
    container_end.remove_marker(marker)
