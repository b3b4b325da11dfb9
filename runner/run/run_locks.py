"""The locks of one run: its supervisor's, its mirror's, a slot's and that of the mirror's directory."""

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
    """One of so many slots of the worker, which a run gives up while it waits between two attempts.

    Nobody inherits its lock: a process of another user that outlives its attempt cannot be ended, and would keep the
    slot from everybody, its own run included.
    """

    def __init__(self, layout: StateLayout, slots: int) -> None:
        self.slots = slots
        self._descriptor: int | None = None
        self._layout = layout

    def take(self) -> bool:
        """Take a slot; False when none is free even after a while."""
        self._descriptor = _free_slot(self._layout, self.slots)
        return self._descriptor is not None

    def give_up(self) -> None:
        """Let others have the slot."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


class Locks(NamedTuple):
    """What a run holds: descriptors, of which the provider inherits the mirror's and the directory's, and a slot."""

    supervisor: int
    mirror: int
    slot: Slot
    directory: DirectoryLock

    @property
    def inherited(self) -> tuple[int, ...]:
        """What the provider's processes inherit, but for the lock of the directory."""
        return (self.mirror,)


@contextlib.contextmanager
def taken(layout: StateLayout, name: str, paths: Paths, slots: int) -> Iterator[Locks | None]:
    """Hold all that a run needs, or nothing: yields None when no slot is free, raises when the mirror is taken.

    A directory that is missing is yet to be locked. InUse when another run works in it, or what an earlier one left.
    """
    supervisor_path, mirror_path = layout.lock("supervisor", name), layout.lock("mirror", name)
    with contextlib.ExitStack() as stack:
        supervisor = _own(stack, locks.try_lock(supervisor_path, wait=PATIENCE))
        if supervisor is None:
            raise SkipjackError(f"{name} is being synced already.", "Wait for its end, or look into its log.")
        mirror = _inherited(stack, locks.try_lock(mirror_path, wait=PATIENCE))
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
        if lock.problem:  # the files may have been replaced, and the directory cannot tell
            pids = {*locks.holders(supervisor_path), *locks.holders(mirror_path)}
            if pids:
                raise in_use(paths.directory, pids)
        yield Locks(supervisor, mirror, slot, lock)


def _orphaned(name: str, path: str) -> InUse:
    """What to raise for processes that outlived a run: a launched one is refused, so that it keeps no slot."""
    from schemas.lock_holders import described

    what = f"processes of an earlier run of {name} are still at work on its directory: {described(path)}"
    return InUse(f"{what}; the next `skipjack tick` ends them unless they are another user's, so end those yourself")


def _own(stack: contextlib.ExitStack, descriptor: int | None) -> int | None:
    if descriptor is not None:
        stack.callback(os.close, descriptor)
    return descriptor


def _inherited(stack: contextlib.ExitStack, descriptor: int | None) -> int | None:
    return _own(stack, None if descriptor is None else locks.out_of_reach(descriptor))


def _free_slot(layout: StateLayout, slots: int) -> int | None:
    """A slot's lock, or None when there is none even after a while: who just ended may still be letting go of it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        for number in range(slots) if _is_one_free(layout, slots) else ():
            descriptor = locks.try_lock(layout.lock("slot", str(number)))
            if descriptor is not None:
                return descriptor
        if time.monotonic() > deadline:
            return None
        time.sleep(0.05)


def _is_one_free(layout: StateLayout, slots: int) -> bool:
    """Whether fewer than so many are in use, with those beyond: runs from before that number was lowered, or forced."""
    try:
        names = os.listdir(os.path.dirname(layout.lock("slot", "0")))
    except FileNotFoundError:
        return True
    beyond = sum(_is_held(layout, name) for name in names if name.isdecimal() and int(name) >= slots)
    return not beyond or beyond + sum(_is_held(layout, str(number)) for number in range(slots)) < slots


def _is_held(layout: StateLayout, name: str) -> bool:
    return locks.is_held(layout.lock("slot", name))
