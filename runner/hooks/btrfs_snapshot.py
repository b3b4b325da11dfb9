"""Publishes a read-only snapshot of a mirror after each success, so that readers never see a half-done sync.

The new snapshot is made beside the published one, and both change names in one step: readers find the old one or the
new one, never nothing. Whatever ends us in between, one is published, and the next success removes what was left. It
stands before the hook that would make a plain folder of the mirror's directory.
"""

import contextlib
import errno
import os
from collections.abc import Iterator

from runner.hooks import btrfs, directory
from runner.plugin_api import Abort, Job
from schemas.states import FAILED, REFUSED

OPTIONS = frozenset({"btrfs_snapshot", "snapshot_path"})

_NOT_THERE = frozenset({errno.ENOTTY, errno.EXDEV})
"""What the kernel says of a snapshot elsewhere than on its subvolume's file system."""

_NOT_ALLOWED = frozenset({errno.EPERM, errno.EACCES})


def pre_job(job: Job) -> None:
    """Create the mirror's directory as a subvolume when it is missing; refuse one that is none."""
    if not job.mirror.btrfs_snapshot:
        return
    place = directory.real_place(job)
    if _lies_in(place, job.snapshot) or _lies_in(job.snapshot, place):
        what = f"the snapshot {job.snapshot} and the mirror's directory {place} would lie in each other"
        raise Abort(REFUSED, f"{what}; set another `snapshot_root` in the machine's settings, or `snapshot_path`")
    if not os.path.lexists(place):
        _create(place)
    elif not btrfs.is_subvolume(place):
        todo = "move it away, and the next run creates one (`cp -a --reflink OLD/. NEW` then keeps the files)"
        raise Abort(REFUSED, f"{place} is not a Btrfs subvolume, which `btrfs_snapshot` needs; {todo}")


def _lies_in(path: str, folder: str) -> bool:
    real, real_folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([real, real_folder]) == real_folder


def _create(place: str) -> None:
    try:
        os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
        btrfs.create(place)
    except OSError as error:
        reason = "it is not on a Btrfs file system" if error.errno == errno.ENOTTY else error.strerror
        todo = "mount one there, correct its owner, make room, or unset `btrfs_snapshot`"
        raise Abort(FAILED, f"{place} cannot be created as a Btrfs subvolume: {reason}; {todo}") from error


def post_success(job: Job) -> None:
    """Publish the mirror as it is now in the place of the snapshot before."""
    if job.mirror.btrfs_snapshot:
        with _telling(job):
            _publish(os.path.realpath(job.directory), job.snapshot)


def _publish(source: str, published: str) -> None:
    os.makedirs(os.path.dirname(published), mode=0o755, exist_ok=True)
    folder, name = os.path.realpath(os.path.dirname(published)), os.path.basename(published)
    published, aside = os.path.join(folder, name), os.path.join(folder, f".{name}.new")
    if os.path.lexists(published) and not btrfs.is_read_only(published):
        raise OSError(errno.EEXIST, "it is not a read-only snapshot and is not replaced; move it away", published)
    _remove(aside)
    btrfs.snapshot(source, aside)
    if os.path.lexists(published):
        btrfs.exchange(aside, published)
    else:
        btrfs.rename_new(aside, published)
    _remove(aside)


def _remove(aside: str) -> None:
    """Remove what is no longer published, or never was."""
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
def _telling(job: Job) -> Iterator[None]:
    """A snapshot that cannot be made is told; it is no failure of the mirror."""
    try:
        yield
    except OSError as error:
        reason = error.strerror
        if error.errno in _NOT_THERE:
            reason = (
                f"it is not on the Btrfs file system of {job.directory}; set another `snapshot_root` in the settings"
            )
        job.complain(f"the snapshot is not up to date: {error.filename}: {reason}")
