"""Locks of the worker's programs: `flock` on small files, which the kernel releases when their last holder ends.

A mirror has two. The *supervisor* lock, like the *slot* lock, is held by `run` alone; the *mirror* lock is inherited
by the provider's processes. Supervisor free and mirror held means that a provider outlived its run. The mirror's
directory is locked as well (`runner/run/directory_lock.py`).

A lock file may be deleted or replaced while it is held. So a new holder checks that the path still leads to the file
that it locked. When it had to create the file, it asks `holders` for processes that hold a deleted one.

Imports stay minimal because every idle tick loads this module (contextlib alone would make it a quarter slower).
"""

import errno
import fcntl
import os
import time

_OUT_OF_REACH = 700
"""The lowest descriptor number for inherited locks, since a script's `exec 9>file` would free the one with number 9.
Scripts use 3 to 9, often 100 or 200; 1024 is the usual limit."""


def try_lock(path: str, *, wait: float = 0.0) -> int | None:
    """Take the lock at `path` and return its descriptor; None if another still holds it after `wait` seconds."""
    # Opened for writing, since NFS turns an exclusive flock into a record lock, which needs that (flock(2)). A
    # directory cannot be, which is why its lock fails there.
    return _take(path, os.O_RDWR, wait)


def try_lock_directory(path: str, *, wait: float = 0.0, shared: bool = False) -> int | None:
    """Take the lock of a directory itself, as `try_lock` does; OSError if its file system has no such locks.

    Any number of processes may hold it `shared` at once, as long as none holds it exclusively.
    """
    return _take(path, os.O_RDONLY | os.O_DIRECTORY, wait, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


def _take(path: str, flags: int, wait: float, kind: int = fcntl.LOCK_EX) -> int | None:
    # The monotonic clock, since a wall clock that is set back would prolong the wait.
    deadline = time.monotonic() + wait
    while True:
        descriptor, is_new = _opened(path, flags)
        try:
            taken = _flock(descriptor, path, kind)
        except OSError:
            os.close(descriptor)
            raise
        is_ours = taken and is_at(descriptor, path)  # otherwise it was replaced after we opened it: lock the new one
        if is_ours and not (is_new and holders(path)):
            return descriptor
        if is_ours:  # others hold the deleted file: do not leave a new one that seems to be free
            os.unlink(path)
        os.close(descriptor)
        if not taken or is_ours:
            if time.monotonic() >= deadline:
                return None
            time.sleep(0.02)  # `flock` has no timeout, and a signal for it would disturb the caller


def _opened(path: str, flags: int) -> tuple[int, bool]:
    """Open a lock file; return its descriptor and whether it had to be created.

    A directory in its place is moved away, a dangling link is removed.
    """
    while True:
        try:
            return os.open(path, flags | os.O_CLOEXEC), False
        except FileNotFoundError:
            if flags & os.O_DIRECTORY:
                raise
            os.makedirs(os.path.dirname(path), exist_ok=True)
        except IsADirectoryError:
            _move_away(path)
        try:
            return os.open(path, flags | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o640), True
        except FileNotFoundError:  # the folder was removed meanwhile
            continue
        except FileExistsError:
            if os.path.islink(path) and not os.path.exists(path):  # dangling: both ways to open it fail for ever
                os.unlink(path)


def _move_away(path: str) -> None:
    try:
        os.rename(path, f"{path}.directory-{time.time_ns()}")
    except FileNotFoundError:  # another process was faster
        return


def is_at(descriptor: int, path: str) -> bool:
    """Return whether the path still leads to the open file or directory."""
    found = os.fstat(descriptor)
    try:
        there = os.stat(path)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino)


def for_child(descriptor: int) -> int:
    """Return a copy of a descriptor that new processes inherit, under a number that no script uses."""
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD, _OUT_OF_REACH)
    except OSError:  # above our limit of open files
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD, 0)


def is_held(path: str) -> bool:
    """Return whether a process holds the lock; takes it shared for an instant, so takers must allow a short wait."""
    return _is_held(path, os.O_RDWR)


def is_directory_held(path: str) -> bool:
    """Return whether a process holds the lock of a directory; OSError if its file system has no such locks."""
    return _is_held(path, os.O_RDONLY | os.O_DIRECTORY)


def _is_held(path: str, flags: int) -> bool:
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC)
    except (FileNotFoundError, IsADirectoryError):  # `is_in_use` also finds the holders of a deleted file
        return False
    try:
        # Shared, so that two processes that check at once do not take each other for a holder.
        return not _flock(descriptor, path, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def is_in_use(path: str) -> bool:
    """Return whether a process holds the lock, also if its file was deleted or replaced; slow if none does."""
    return is_held(path) or bool(holders(path))


def holders(path: str) -> list[int]:
    """Return the ids of the other processes that hold the lock.

    Also finds holders whose file was deleted, replaced, or moved with the `locks` folder within the state directory.
    """
    from schemas import lock_holders

    locks = os.path.dirname(os.path.dirname(path))
    return lock_holders.holders(path, os.path.dirname(locks) if os.path.basename(locks) == "locks" else "")


class Held:
    """Hold a lock within a block: `with Held(path) as is_ours` is False if it was not free within `wait` seconds."""

    def __init__(self, path: str, *, wait: float = 0.0) -> None:
        self._descriptor = try_lock(path, wait=wait)

    def __enter__(self) -> bool:
        return self._descriptor is not None

    def __exit__(self, *_exception: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _flock(descriptor: int, path: str, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        # EACCES comes from file systems that make a record lock of it, see fcntl(2).
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise OSError(error.errno, error.strerror, path) from error
    return True
