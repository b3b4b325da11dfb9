"""The locks of one run: the supervisor lock, the mirror lock, a slot, and the lock of the mirror's directory.

All runs take them in this order, and give up after a short time instead of waiting, so no two runs block each other.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from runner.base import locks
from runner.base.mirror_paths import Paths
from runner.base.state_dir import StateLayout
from runner.run.directory_lock import PATIENCE, DirectoryLock, InUse, in_use
from schemas.errors import SkipjackError


class Slot:
    """One of the worker's `slots`, which a run gives up while it waits between two attempts.

    The provider's processes do not inherit its lock. Otherwise a process of another user that outlives its attempt, and
    cannot be killed, would occupy the slot for ever.
    """

    def __init__(self, layout: StateLayout, slots: int) -> None:
        self.slots = slots
        self._descriptor: int | None = None
        self._layout = layout

    def take(self) -> bool:
        """Take a slot; return False if none becomes free within `PATIENCE` seconds."""
        self._descriptor = _free_slot(self._layout, self.slots)
        return self._descriptor is not None

    def give_up(self) -> None:
        """Release the slot."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


class Locks(NamedTuple):
    """The locks that a run holds. The provider's processes inherit the descriptors of the mirror and the directory."""

    supervisor: int
    mirror: int
    slot: Slot
    directory: DirectoryLock

    @property
    def inherited(self) -> tuple[int, ...]:
        """Return the descriptors that the provider's processes inherit, without those of the directory's lock."""
        return (self.mirror,)


@contextlib.contextmanager
def taken(layout: StateLayout, name: str, paths: Paths, slots: int) -> Iterator[Locks | None]:
    """Hold all locks of a run within the block, or none: yields None if no slot is free.

    SkipjackError if the mirror has a run. InUse if another run works in its directory, or processes that outlived an
    earlier run. A missing directory is locked later, by `DirectoryLock.take`.
    """
    supervisor_path, mirror_path = layout.lock("supervisor", name), layout.lock("mirror", name)
    with contextlib.ExitStack() as stack:
        supervisor = _own(stack, locks.try_lock(supervisor_path, wait=PATIENCE))
        if supervisor is None:
            what = f"cannot sync {name}: it is already being synced."
            raise SkipjackError(what, "Wait for the end of that run, or look into its log.")
        # Without a longer wait: a tick takes the supervisor lock to end the processes that hold this one.
        mirror = _own(stack, locks.try_lock(mirror_path, wait=PATIENCE))
        if mirror is None:
            raise _orphaned(name, mirror_path)
        slot = Slot(layout, slots)
        stack.callback(slot.give_up)
        if not slot.take():
            yield None
            return
        lock = DirectoryLock(paths.directory, paths.root)
        stack.callback(lock.release)
        lock.take()
        if lock.problem:  # without this lock, holders of deleted lock files must be searched for in /proc
            pids = {*locks.holders(supervisor_path), *locks.holders(mirror_path)}
            if pids:
                raise in_use(paths.directory, pids)
        yield Locks(supervisor, mirror, slot, lock)


def _orphaned(name: str, path: str) -> InUse:
    """Return the exception for processes that outlived a run. A launched run is refused then, and holds no slot."""
    from schemas.lock_holders import described  # loaded here, since few runs meet such processes

    what = f"processes of an earlier run of {name} are still running in its directory: {described(path)}"
    return InUse(f"{what}; the next `skipjack tick` ends them, except those of other users, which you must end")


def _own(stack: contextlib.ExitStack, descriptor: int | None) -> int | None:
    if descriptor is not None:
        stack.callback(os.close, descriptor)
    return descriptor


def _free_slot(layout: StateLayout, slots: int) -> int | None:
    """Return the lock of a free slot, None if there is none after `PATIENCE` seconds: a run may be just ending."""
    deadline = time.monotonic() + PATIENCE
    while True:
        for number in range(slots) if _is_one_free(layout, slots) else ():
            descriptor = locks.try_lock(layout.lock("slot", str(number)))
            if descriptor is not None:
                return descriptor
        if time.monotonic() > deadline:
            return None
        time.sleep(0.05)  # `flock` cannot wait for one of several files


def _is_one_free(layout: StateLayout, slots: int) -> bool:
    """Return whether fewer than `slots` are in use in all.

    Slots with higher numbers count as well: of forced runs, and of runs from before the number was lowered.
    """
    try:
        names = os.listdir(os.path.dirname(layout.lock("slot", "0")))
    except FileNotFoundError:  # no run has taken a slot yet
        return True
    beyond = sum(_is_held(layout, name) for name in names if name.isdecimal() and int(name) >= slots)
    return not beyond or beyond + sum(_is_held(layout, str(number)) for number in range(slots)) < slots


def _is_held(layout: StateLayout, name: str) -> bool:
    return locks.is_held(layout.lock("slot", name))
