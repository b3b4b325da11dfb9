"""What all code of a process shares beside its modules: signals, the umask, the working directory.

A plug-in that changes it would change how its run is stopped, and which modes the files of the mirror get.
"""

import contextlib
import os
import signal
from typing import Any, NamedTuple


class ProcessState(NamedTuple):
    """The shared state at one moment."""

    handlers: dict[int, Any]
    blocked: frozenset[int]
    wakeup: int
    umask: int
    directory: str


def current() -> ProcessState:
    """Return the state of this process. Only its main thread may ask."""
    handlers = {int(number): signal.getsignal(number) for number in signal.valid_signals()}
    # These can only be read by setting them.
    wakeup, umask = signal.set_wakeup_fd(-1), os.umask(0o077)
    os.umask(umask)
    _set_wakeup(wakeup)
    directory = ""
    with contextlib.suppress(OSError):  # the working directory was removed
        directory = os.getcwd()
    blocked = frozenset(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    return ProcessState(handlers, blocked, wakeup, umask, directory)


def difference(before: ProcessState, after: ProcessState) -> str:
    """Return what has changed, in words; empty if nothing has."""
    changed = []
    if before[:3] != after[:3]:
        changed.append("how signals are handled")
    if before.umask != after.umask:
        changed.append("the umask")
    if before.directory != after.directory:
        changed.append("the working directory")
    return ", ".join(changed)


def restore(state: ProcessState) -> str:
    """Undo what has changed since then; return it in words, empty if nothing has."""
    now = current()
    what = difference(state, now)
    if not what:
        return ""
    for number, handler in state.handlers.items():
        if handler is not None and now.handlers[number] is not handler:  # None is one of a library in C
            signal.signal(number, handler)
    _set_wakeup(state.wakeup)
    signal.pthread_sigmask(signal.SIG_SETMASK, state.blocked)
    os.umask(state.umask)
    with contextlib.suppress(OSError):
        os.chdir(state.directory or "/")
    return what


def _set_wakeup(descriptor: int) -> None:
    with contextlib.suppress(OSError, ValueError):  # the descriptor was closed
        # A full pipe is enough to wake its reader, so a lost byte is not an error.
        signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
