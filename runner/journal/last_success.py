"""What is known of a mirror's directory from earlier runs, and what a run leaves in it.

The journal keeps it, the run and its hooks look at it. It comes from one look at the top of the directory, or from
figures that the run has anyway: nothing here walks a tree.
"""

import os
from typing import TYPE_CHECKING, NamedTuple

from runner.base.mirror_paths import is_missing_or_empty

if TYPE_CHECKING:
    from runner.plan.deletion_limits import Tree


class Past(NamedTuple):
    """A mirror's directory as earlier runs left it; None for what is not known.

    `success_at` is when the last success ended, `files_in` the directory in which it left files (empty text if it
    left none), `size` the last size that was reported. `emptied` is the identity of the directory in which the last
    run may have left nothing, though not as a success. `files` and `bytes` are those of the last accepted success, in
    which a file with several names may count several times; `on_disk` are the bytes with each file counted once.
    `refused` says that a run since then was refused for the loss that a comparison with them showed.
    `deleted_files` and `deleted_bytes` are what Skipjack's own deletions have taken since then, counted before they
    were made. `deleting` names the last of them, which may have been cut off; it is empty when nothing was deleted.

    Where no success was accepted yet, `files` and `bytes` are what the directory held when somebody first looked, and
    `first_look` is the upstream that the mirror then had; otherwise it is empty. `counted` says that the files are
    those on disk, and that no run since then ended otherwise than as a success.
    """

    success_at: float | None = None
    files_in: str | None = None
    size: int | None = None
    emptied: int | None = None
    files: int | None = None
    bytes: int | None = None
    refused: bool = False
    deleted_files: int = 0
    deleted_bytes: int = 0
    deleting: str = ""
    first_look: str = ""
    counted: bool = False
    on_disk: int | None = None

    @property
    def had_files(self) -> bool:
        """Whether the last success is known to have left files; one of an older version did if it had a size."""
        if self.success_at is None:
            return False
        return bool(self.size) if self.files_in is None else bool(self.files_in)

    @property
    def accepted(self) -> "Tree | None":
        """The tree of the last accepted success, or of the first look; None where its figures are not known."""
        from runner.plan.deletion_limits import Tree  # a tick loads this module and never gets here

        return None if self.files is None or self.bytes is None else Tree(self.files, self.bytes)

    @property
    def deleted(self) -> "Tree":
        """What was deleted since the last accepted success, in runs that did not end as one."""
        from runner.plan.deletion_limits import Tree

        return Tree(self.deleted_files, self.deleted_bytes)


class Left(NamedTuple):
    """What a run left: see the fields of these names in `Past`.

    `files`, `bytes`, `on_disk` and `counted` are taken over after a success alone.
    """

    files_in: str = ""
    emptied: int | None = None
    files: int | None = None
    bytes: int | None = None
    refused: bool = False
    counted: bool = False
    on_disk: int | None = None


def left_in(
    directory: str,
    begun_in: int | None,
    files: int | None,
    size: int | None,
    *,
    refused: bool = False,
    counted: bool = False,
    on_disk: int | None = None,
) -> Left:
    """Return what a run left in a directory whose identity was `begun_in` when it began."""
    if not is_missing_or_empty(directory):
        return Left(directory, None, files, size, refused, counted, on_disk)
    emptied = begun_in if identity_of(directory) == begun_in else None
    return Left("", emptied, files, size, refused, counted, on_disk)


def identity_of(path: str) -> int | None:
    """Return a number that tells the directory at a path from all others, also from that of another disk.

    Inodes alone do not: every ext4 begins with 2, every Btrfs subvolume with 256. The number of the file system tells
    these apart. None if there is no directory, or none can be told: at the top of a file system without such a number.
    """
    try:
        found, system = os.stat(path), os.statvfs(path)
    except OSError:
        return None
    if system.f_fsid in (0, found.st_dev) and os.path.ismount(os.path.realpath(path)):  # XFS tells the device alone
        return None
    return (system.f_fsid * 31 + found.st_ino) & 0x7FFF_FFFF_FFFF_FFFF
