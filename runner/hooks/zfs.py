"""Check that the ZFS dataset of a mirror is mounted before anything is written.

If a pool was not imported, its mount points are plain folders on another disk, which a sync would fill. The kernel's
list of mounts shows that, so no program of ZFS is needed.
"""

import os
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from runner.plugin_api import Abort, Job
from schemas.states import REFUSED

OPTIONS = frozenset({"zpool"})

_TYPES = ("zfs", "fuse.zfs")
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class _Mount(NamedTuple):
    """A line of /proc/self/mountinfo: mount point, device (`MAJOR:MINOR`), type and source; see proc(5)."""

    place: str
    device: str
    type: str
    source: str


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
    matching = (mount for mount in _mounts() if (mount.place, mount.device) == (directory, device))
    return next((mount.source for mount in matching if mount.type in _TYPES), None)


def _mounts() -> Iterator[_Mount]:
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            before, _, after = line.partition(b" - ")
            kind, source, *_options = after.split()
            device, _root, place = before.split()[2:5]
            yield _Mount(*(_plain(field) for field in (place, device, kind, source)))


def _plain(field: bytes) -> str:
    """Return a field without the kernel's escapes, such as `\\040` for a space."""
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), field))
