"""Wait for another program of the same kind to end, up to minutes, and log which process that is."""

import contextlib
import time
from collections.abc import Iterator

from runner.base import locks
from runner.base.output import note
from schemas.errors import SkipjackError
from schemas.lock_holders import described

_FIRST, _EVERY = 3.0, 30.0
"""Seconds until a wait is logged first, and between later log lines."""


@contextlib.contextmanager
def turn(path: str, program: str, patience: float) -> Iterator[None]:
    """Hold a program's lock; SkipjackError if another process still holds it after `patience` seconds."""
    until = time.monotonic() + patience
    pause = _FIRST
    while True:
        # In parts, so that a person at a terminal sees what this program waits for.
        with locks.Held(path, wait=max(0.0, min(pause, until - time.monotonic()))) as ours:
            if ours:
                yield
                return
        who = described(path)
        if time.monotonic() >= until:
            todo = f"Wait for it, or end that process if it hangs; the next {program} tries again."
            raise SkipjackError(f"another {program} is still running: {who}.", todo)
        note(f"waiting for another {program} to end: {who}", about=program)
        pause = _EVERY
