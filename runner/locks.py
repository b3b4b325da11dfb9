"""Locks of the lean programs: `flock` on small files, released by the kernel when their last holder is gone.

A mirror has two. The *supervisor* lock is held by `run` alone; the *mirror* lock, like the *slot* lock, is inherited
by the provider's processes. Supervisor free and mirror held means that a provider outlived its run.

Even an idle tick loads this module, so it imports nothing of weight (contextlib alone would cost it a quarter more).
"""

import errno
import fcntl
import os
import time

_OUT_OF_REACH = 700
"""Shell scripts use 3 to 9 and, by custom, 100 or 200; 1024 is the usual limit."""


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


def out_of_reach(descriptor: int) -> int:
    """Give a lock that others inherit a number that none of them uses: a script's `exec 9>file` would free it."""
    try:
        high = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _OUT_OF_REACH)
    except OSError:  # we may not have so many
        return descriptor
    os.close(descriptor)
    return high


def is_held(path: str) -> bool:
    """Tell whether somebody holds the lock; shares it for an instant, so takers must be ready to wait one."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _flock(descriptor, fcntl.LOCK_SH)  # shared: two that look must not take each other for a holder
    finally:
        os.close(descriptor)


def holders(path: str) -> list[int]:
    """The other processes that hold the lock, found in /proc; not those that wait for it or look whether it is held."""
    target = os.path.realpath(path)
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if pid != os.getpid() and _holds(pid, target)]


def _holds(pid: int, target: str) -> bool:
    try:
        names = [name for name in os.listdir(f"/proc/{pid}/fd") if os.readlink(f"/proc/{pid}/fd/{name}") == target]
        return any(_is_locked(f"/proc/{pid}/fdinfo/{name}") for name in names)
    except OSError:  # gone meanwhile, or somebody else's, who cannot have our lock
        return False


def _is_locked(path: str) -> bool:
    """Tell by its description in /proc whether an open file is locked for its holder alone, by whomever it was."""
    with open(path, encoding="ascii") as file:
        return any(line.startswith("lock:") and " WRITE " in line for line in file)


class Held:
    """Hold the lock for a while: `with Held(path) as ours` gives False when it could not be had in `wait` seconds."""

    def __init__(self, path: str, *, wait: float = 0.0) -> None:
        self._descriptor = try_lock(path, wait=wait)

    def __enter__(self) -> bool:
        return self._descriptor is not None

    def __exit__(self, *_exception: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _flock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True
