"""Publish a read-only snapshot of a mirror after each success, so that readers never see an unfinished sync.

The new snapshot is created beside the published one, and both exchange their names in one step. Readers find the old or
the new one at any time, also if the run is killed; the next success removes the other one. In the table this hook is
before the one that would create the mirror's directory as a plain folder.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from runner.base.mirror_paths import lies_in
from runner.hooks import btrfs, directory
from runner.plugin_api import Abort, Job
from schemas.states import FAILED, REFUSED

OPTIONS = frozenset({"btrfs_snapshot", "snapshot_path"})

_NOT_THERE = frozenset({errno.ENOTTY, errno.EXDEV})
"""Error numbers of the kernel for a snapshot on another file system than its subvolume."""

_NOT_ALLOWED = frozenset({errno.EPERM, errno.EACCES})


def pre_job(job: Job) -> None:
    """Create the mirror's directory as a subvolume if it is missing; refuse a directory that is not a subvolume."""
    if not job.mirror.btrfs_snapshot:
        return
    place = directory.real_place(job)
    if lies_in(place, job.snapshot) or lies_in(job.snapshot, place):
        # A sync would delete the snapshot, or the snapshot would contain itself.
        what = f"the snapshot {job.snapshot} and the mirror's directory {place} would be inside one another"
        raise Abort(REFUSED, f"{what}; set another `snapshot_root` in the machine's settings, or `snapshot_path`")
    if not os.path.lexists(place):
        _create(place)
    elif not btrfs.is_subvolume(place):
        todo = "move it away, and the next run creates one (`cp -a --reflink OLD/. NEW` then keeps the files)"
        raise Abort(REFUSED, f"{place} is not a Btrfs subvolume, which `btrfs_snapshot` needs; {todo}")


def _create(place: str) -> None:
    try:
        os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
        btrfs.create(place)
    except OSError as error:
        reason = "it is not on a Btrfs file system" if error.errno == errno.ENOTTY else error.strerror
        todo = "mount one there, correct its owner, make room, or unset `btrfs_snapshot`"
        raise Abort(FAILED, f"{place} cannot be created as a Btrfs subvolume: {reason}; {todo}") from error


def post_success(job: Job) -> None:
    """Publish a snapshot of the mirror in place of the previous one."""
    if job.mirror.btrfs_snapshot:
        with _complaining(job):
            _publish(os.path.realpath(job.directory), job.snapshot)


def _publish(source: str, published: str) -> None:
    os.makedirs(os.path.dirname(published), mode=0o755, exist_ok=True)
    folder, name = os.path.realpath(os.path.dirname(published)), os.path.basename(published)
    published, aside = os.path.join(folder, name), os.path.join(folder, f".{name}.new")
    if os.path.lexists(published) and not btrfs.is_read_only(published):
        raise OSError(errno.EEXIST, "it is not a read-only snapshot and is not replaced; move it away", published)
    _remove(aside)  # left behind by a killed run
    btrfs.snapshot(source, aside)
    if os.path.lexists(published):
        btrfs.exchange(aside, published)
    else:
        btrfs.rename_new(aside, published)
    _remove(aside)


def _remove(aside: str) -> None:
    """Delete a snapshot that is not published (any more), if there is one."""
    if not os.path.lexists(aside):
        return
    try:
        btrfs.delete(aside)
    except OSError as error:
        if error.errno not in _NOT_ALLOWED:
            raise
        what = f"it cannot be deleted ({error.strerror}); mount the file system with `user_subvol_rm_allowed`"
        raise OSError(error.errno, what, aside) from error


@contextlib.contextmanager
def _complaining(job: Job) -> Iterator[None]:
    """Report a snapshot that cannot be created beside the run: the mirror itself is up to date."""
    try:
        yield
    except OSError as error:
        reason = error.strerror
        if error.errno in _NOT_THERE:
            reason = (
                f"it is not on the Btrfs file system of {job.directory}; set another `snapshot_root` in the settings"
            )
        job.complain(f"the snapshot is not up to date: {error.filename}: {reason}")
