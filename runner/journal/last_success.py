"""What did earlier runs leave in a mirror's directory, and what does this run leave?

The journal stores it; runs and their hooks read it. It comes from figures that the run has anyway, and from a look into
the directory up to its first file: nothing here walks a whole tree.
"""

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.base.mirror_paths import is_missing_or_empty

if TYPE_CHECKING:
    from runner.plan.deletion_limits import Tree

_NOTHING_DELETED = {"deleted_files": 0, "deleted_bytes": 0, "deleting": "", "uncounted_since": None}


class Past(NamedTuple):
    """A mirror's directory as earlier runs left it; None for what is not known.

    - `success_at`: when the last success ended.
    - `files_in`: the directory in which it left files, empty if it left none.
    - `size`: the last reported size.
    - `emptied`: the identity of the directory that the last run may have left empty without a success.
    - `files`, `bytes`: the figures of the last accepted success; hard-linked files may count once for each name.
      `on_disk`: the bytes with each file counted once.
    - `refused`: a run since then was refused because of its loss compared with these figures.
    - `deleted_files`, `deleted_bytes`: Skipjack's own deletions since then, counted before they were made.
    - `deleting`: the token of the last deletion, which may have been interrupted; empty if there was none.
    - `first_look`: before the first accepted success, the upstream at the first look, which `files` and `bytes` then
      come from; otherwise empty.
    - `counted`: the files are those on disk, and all runs since then were successes.
    - `uncounted_since`: when the first run began that died since then and whose losses are not counted yet.
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
    uncounted_since: float | None = None

    @property
    def had_files(self) -> bool:
        """Return whether the last success left files; one recorded by an older version did if it had a size."""
        if self.success_at is None:
            return False
        return bool(self.size) if self.files_in is None else bool(self.files_in)

    @property
    def accepted(self) -> "Tree | None":
        """Return the tree of the last accepted success, or of the first look; None if its figures are not known."""
        from runner.plan.deletion_limits import Tree  # every tick loads this module and never gets here

        return None if self.files is None or self.bytes is None else Tree(self.files, self.bytes)

    @property
    def deleted(self) -> "Tree":
        """Return what was deleted since the last accepted success, in runs that did not succeed."""
        from runner.plan.deletion_limits import Tree

        return Tree(self.deleted_files, self.deleted_bytes)


class Left(NamedTuple):
    """What a run left: see the fields of the same names in `Past`.

    `files`, `bytes`, `on_disk` and `counted` are stored only after a success.
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
    """Return what a run left in a directory whose identity was `begun_in` at the start of the run."""
    if not is_missing_or_empty(directory):
        return Left(directory, None, files, size, refused, counted, on_disk)
    # Not if another directory is there now: a lost mount also looks empty.
    emptied = begun_in if identity_of(directory) == begun_in else None
    return Left("", emptied, files, size, refused, counted, on_disk)


def columns_after(left: Left | None, *, succeeded: bool) -> dict[str, Any]:
    """Return the changed columns of a mirror after a run that left that, None if it never worked in the directory.

    Later runs are compared only with a success.
    """
    if left is None:
        return {}
    fields: dict[str, Any] = {"emptied": left.emptied}
    if left.refused:
        fields["loss_refused"] = True
    if not succeeded:
        return fields
    accepted = {"files_in": left.files_in, "accepted_files": left.files, "accepted_bytes": left.bytes}
    accepted |= {"accepted_on_disk": left.on_disk, "loss_refused": False, "first_look": "", "counted": left.counted}
    return fields | accepted | _NOTHING_DELETED


def columns_of_first_look(upstream: str, files: int, size: int, on_disk: int | None) -> dict[str, Any]:
    """Return the columns for what a mirror without an accepted success is compared with; sizes are in bytes."""
    seen = {"accepted_files": files, "accepted_bytes": size, "accepted_on_disk": on_disk}
    return {**seen, "first_look": upstream, "counted": 0}


def columns_of_empty_start() -> dict[str, Any]:
    """Return the columns of a mirror for which nothing counts that earlier runs left or deleted."""
    forgotten = {"files_in": "", "emptied": None, "accepted_files": None, "accepted_bytes": None, "loss_refused": 0}
    return {**forgotten, "accepted_on_disk": None, "first_look": "", "counted": 0, **_NOTHING_DELETED}


def identity_of(path: str) -> int | None:
    """Return a number that identifies the directory at a path, also among those of other disks.

    Inodes alone do not: the root of every ext4 is 2, that of every Btrfs subvolume 256. So the id of the file system is
    part of it. None if there is no directory, or it is the top of a file system without an id.
    """
    try:
        found, system = os.stat(path), os.statvfs(path)
    except OSError:
        return None
    if system.f_fsid in (0, found.st_dev) and os.path.ismount(os.path.realpath(path)):  # XFS returns only the device
        return None
    # SQLite stores signed integers.
    return (system.f_fsid * 31 + found.st_ino) & 0x7FFF_FFFF_FFFF_FFFF
