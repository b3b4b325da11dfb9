"""The locks of one run: its supervisor's, its mirror's, a slot's and that of the mirror's directory."""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from runner import locks
from runner.directory_lock import PATIENCE, DirectoryLock, in_use
from runner.places import Places
from schemas.errors import SkipjackError


class Locks(NamedTuple):
    """What a run holds: descriptors, of which the provider inherits all but the supervisor's."""

    supervisor: int
    mirror: int
    slot: int
    directory: DirectoryLock


@contextlib.contextmanager
def taken(places: Places, name: str, directory: str, slots: int) -> Iterator[Locks | None]:
    """Hold all that a run needs, or nothing: yields None when no slot is free, raises when the mirror is taken.

    A directory that is missing is yet to be locked. InUse when another run works in it.
    """
    supervisor_path, mirror_path = places.lock("supervisor", name), places.lock("mirror", name)
    with contextlib.ExitStack() as stack:
        supervisor = _own(stack, locks.try_lock(supervisor_path, wait=PATIENCE))
        if supervisor is None:
            raise SkipjackError(f"{name} is being synced already.", "Wait for its end, or look into its log.")
        mirror = _inherited(stack, locks.try_lock(mirror_path, wait=PATIENCE))
        if mirror is None:
            raise _orphaned(name)
        slot = _inherited(stack, _free_slot(places, slots))
        if slot is None:
            yield None
            return
        lock = DirectoryLock(directory)
        stack.callback(lock.release)
        lock.take()
        if lock.problem:  # the files may have been replaced, and the directory cannot tell
            pids = {*locks.holders(supervisor_path), *locks.holders(mirror_path)}
            if pids:
                raise in_use(directory, pids)
        yield Locks(supervisor, mirror, slot, lock)


def _orphaned(name: str) -> SkipjackError:
    what = f"Processes of an earlier run of {name} are still at work on its directory."
    return SkipjackError(what, "The next `skipjack tick` ends them.")


def _own(stack: contextlib.ExitStack, descriptor: int | None) -> int | None:
    if descriptor is not None:
        stack.callback(os.close, descriptor)
    return descriptor


def _inherited(stack: contextlib.ExitStack, descriptor: int | None) -> int | None:
    return _own(stack, None if descriptor is None else locks.out_of_reach(descriptor))


def _free_slot(places: Places, slots: int) -> int | None:
    """A slot's lock, or None when there is none even after a while: who just ended may still be letting go of it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        for number in range(slots):
            descriptor = locks.try_lock(places.lock("slot", str(number)))
            if descriptor is not None:
                return descriptor
        if time.monotonic() > deadline:
            return None
        time.sleep(0.05)
