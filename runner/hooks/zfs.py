"""Check that the ZFS dataset of a mirror is mounted before anything is written.

If a pool was not imported, its mount points are plain folders on another disk, which a sync would fill. The kernel's
list of mounts shows that, so no program of ZFS is needed.
"""

import os
import shlex

from runner.base.mounts import mounts
from runner.plugin_api import Abort, Job
from schemas.states import REFUSED

OPTIONS = frozenset({"zpool"})

_TYPES = ("zfs", "fuse.zfs")


def pre_job(job: Job) -> None:
    """Refuse if the mirror's directory is not the mount point of a dataset below `zpool`."""
    pool = job.mirror.zpool
    if not pool:
        return
    dataset = _dataset_at(os.path.realpath(job.directory))
    if dataset is None:
        wanted, place = f"{pool}/{job.mirror.name}", shlex.quote(job.directory)
        todo = (
            f"`zfs create -o mountpoint={place} {wanted}`, or mount it with `zfs mount {wanted}` if it is there already"
        )
        raise Abort(REFUSED, f"{job.directory} is not the mount point of a ZFS dataset; create it with {todo}")
    if not dataset.startswith(f"{pool}/"):
        what = f"{job.directory} is the ZFS dataset {dataset}, which does not lie below {pool}"
        raise Abort(REFUSED, f"{what}; correct `zpool` or mount another dataset there")


def _dataset_at(directory: str) -> str | None:
    """Return the dataset that is mounted on a directory, None if there is none or another mount hides it."""
    try:
        found = os.stat(directory)
    except OSError:  # missing, as on a pool that was not imported
        return None
    device = f"{os.major(found.st_dev)}:{os.minor(found.st_dev)}"
    matching = (mount for mount in mounts() if (mount.place, mount.device) == (directory, device))
    return next((mount.source for mount in matching if mount.type in _TYPES), None)
