"""Locks of the lean programs: `flock` on small files, released by the kernel when their last holder is gone.

A mirror has two. The *supervisor* lock is held by `run` alone; the *mirror* lock, like the *slot* lock, is inherited
by the provider's processes. Supervisor free and mirror held means that a provider outlived its run.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator


def try_lock(path: str, *, wait: float = 0.0) -> int | None:
    """Take the lock at `path` and return its descriptor, or None when it is still held after `wait` seconds."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    deadline = time.monotonic() + wait
    while not _flock(descriptor):
        if time.monotonic() >= deadline:
            os.close(descriptor)
            return None
        time.sleep(0.02)
    return descriptor


def is_held(path: str) -> bool:
    """Tell whether somebody holds the lock; takes it for an instant, so takers must be ready to wait one."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _flock(descriptor)
    finally:
        os.close(descriptor)


def holders(path: str) -> list[int]:
    """The processes that have the lock's file open, found in /proc; whoever has it open inherited it from a run."""
    target = os.path.realpath(path)
    found = []
    for entry in os.listdir("/proc"):
        folder = f"/proc/{entry}/fd"
        with contextlib.suppress(OSError):  # not a process, not ours, or gone meanwhile
            if any(os.readlink(f"{folder}/{name}") == target for name in os.listdir(folder)):
                found.append(int(entry))
    return [pid for pid in found if pid != os.getpid()]


@contextlib.contextmanager
def held(path: str, *, wait: float = 0.0) -> Iterator[bool]:
    """Hold the lock for a while; yields False when it could not be had within `wait` seconds."""
    descriptor = try_lock(path, wait=wait)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True
