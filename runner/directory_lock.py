"""The lock on a mirror's directory itself, beside the lock files of its worker.

It keeps everything else off the directory that Skipjack starts: another definition or worker with the same directory,
and a second run of the same mirror after its lock files were deleted. Network file systems may have no such lock; then
the lock files alone protect the directory.
"""

import os
from collections.abc import Iterable

from runner import locks
from runner.past import identity_of

PATIENCE = 2.0
"""Seconds to wait for the lock: a process that looks whether it is held takes it for an instant."""


class InUse(Exception):  # noqa: N818 - a state of the directory, not an error
    """Another process holds the directory's lock; the message says which one and what to do."""


class DirectoryLock:
    """The lock of one directory: `descriptor` while it is held, `problem` when its file system has no such lock.

    `identity` tells the directory from others (`runner/past.py`), None while it is missing.
    """

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.descriptor: int | None = None
        self.problem = ""
        self.identity: int | None = None

    def take(self) -> None:
        """Lock what the path leads to now; nothing while it is missing. Raises InUse."""
        if self.descriptor is not None and locks.is_at(self.descriptor, self._directory):
            return
        self.release()
        try:
            self.identity = identity_of(self._directory)
            descriptor = locks.try_lock_directory(self._directory, wait=PATIENCE)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self.problem = str(error.strerror)
            return
        if descriptor is None:
            raise in_use(self._directory, locks.holders(self._directory))
        self.descriptor = locks.out_of_reach(descriptor)

    def release(self) -> None:
        """Release the lock; the processes that inherited it keep it."""
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


def in_use(directory: str, pids: Iterable[int]) -> InUse:
    """Return what to raise for a directory that these processes work in."""
    found = ", ".join(map(str, sorted(pids)))
    who = f"process{'es' * (',' in found)} {found}" if found else "a process that cannot be seen"
    return InUse(f"{directory} is in use by {who}; wait for that run, or give one of the mirrors another directory")
