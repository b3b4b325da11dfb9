"""The lock on a mirror's directory itself, in addition to the lock files of its worker.

It excludes other syncs in the same directory: another definition or worker, and a second run of the mirror after its
lock files were deleted. Some network file systems have no such lock; then only the lock files protect the directory.
"""

import contextlib
import os
from collections.abc import Iterable

from runner.base import locks
from runner.base.mirror_paths import is_missing_or_empty, real_paths
from runner.journal.last_success import identity_of

PATIENCE = 2.0
"""Seconds to wait for the lock: a process that checks whether it is held takes it for an instant."""


class InUse(Exception):  # noqa: N818 - a state of the directory, not an error
    """Another process holds the directory's lock; the message says which one and what to do."""


class DirectoryLock:
    """The lock of one directory; `problem` is the reason if its file system has no such lock.

    All folders above the directory are locked as well, shared. So no run can have one of them as its mirror's
    directory, where it could delete ours or replace it by a link. `root` is the folder of all mirrors, which no link
    may leave. `identity` identifies the directory (`runner/journal/last_success.py`), None while it is missing.
    """

    def __init__(self, directory: str, root: str) -> None:
        self._directory, self._root = directory, root
        self._own: int | None = None
        self._above: list[int] = []
        self._inode: tuple[int, int] | None = None
        self._out = ""
        self.problem = ""
        self.identity: int | None = None

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors of the held locks, which processes that work in the directory inherit."""
        return (*self._above, *(() if self._own is None else (self._own,)))

    def take(self) -> None:
        """Lock the directory that the path leads to now, if there is one. Raises InUse."""
        # Called again after the hooks, which may have mounted another disk there.
        if self._own is not None and locks.is_at(self._own, self._directory):
            return
        self.release()
        try:
            # From the top down, in the same order in all runs. No run waits for ever: each lock has a time limit.
            for folder in _above(self._directory):
                self._take_above(folder)
            self.identity, self._inode = identity_of(self._directory), _inode(self._directory)
            self._out = self._leads_out()
            self._own = self._locked(self._directory, self._directory)
        except (FileNotFoundError, NotADirectoryError):  # a hook creates or mounts it, then this is called again
            return
        except OSError as error:
            self.problem = str(error.strerror)

    def _take_above(self, folder: str) -> None:
        with contextlib.suppress(OSError):  # it cannot be read or has no locks, so it is hardly a mirror's directory
            self._above.append(self._locked(folder, self._directory, shared=True))

    @staticmethod
    def _locked(folder: str, directory: str, *, shared: bool = False) -> int:
        descriptor = locks.try_lock_directory(folder, wait=PATIENCE, shared=shared)
        if descriptor is None:
            raise in_use(directory, locks.holders(folder), folder)
        return descriptor

    def moved(self) -> str:
        """Return why the path no longer leads to the locked directory, or leads out of the root; else empty."""
        if _inode(self._directory) == self._inode:
            return self._out
        if out := self._leads_out():
            return out
        why = "a disk was mounted or unmounted, or a folder was moved"
        return f"{self._directory} is no longer the directory in which this run began: {why}; check the mount"

    def is_exchanged(self) -> bool:
        """Return whether the locked directory was replaced by another one with files, on the same disk, below the root.

        An empty one or one on another disk is more likely a lost mount than a published tree.
        """
        now = _inode(self._directory)
        is_same_disk = now is not None and self._inode is not None and now[0] == self._inode[0]
        return is_same_disk and not self._leads_out() and not is_missing_or_empty(self._directory)

    def _leads_out(self) -> str:
        real, root = real_paths(self._directory, self._root)
        if real.startswith(f"{root}/"):
            return ""
        return f"{self._directory} is really {real}, which does not lie below {root}; correct the link"

    def release(self) -> None:
        """Release the lock; the processes that inherited it keep it."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self._own, self._above = None, []


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _above(directory: str) -> list[str]:
    """Return the folders above a directory, with all links followed, from the top down."""
    folder, found = os.path.realpath(directory), []
    while (folder := os.path.dirname(folder)) != "/":
        found.append(folder)
    return found[::-1]


def in_use(directory: str, pids: Iterable[int], folder: str = "") -> InUse:
    """Return the exception for a directory in which these processes work, or in the `folder` above it."""
    found = ", ".join(map(str, sorted(pids)))
    who = f"process{'es' * (',' in found)} {found}" if found else "a process that cannot be seen"
    where = f"{directory} is in use" if folder in ("", directory) else f"{directory} lies in {folder}, which is in use"
    return InUse(f"{where} by {who}; wait for that run, or give one of the mirrors another directory")
