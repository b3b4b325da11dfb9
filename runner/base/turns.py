"""Waiting for another program of the same kind to end, for minutes, and saying for which process."""

import contextlib
import time
from collections.abc import Iterator

from runner.base import locks
from runner.base.output import note
from schemas.errors import SkipjackError
from schemas.lock_holders import described

_FIRST, _EVERY = 3.0, 30.0
"""Seconds after which a wait is told first, and then again and again."""


@contextlib.contextmanager
def turn(path: str, program: str, patience: float) -> Iterator[None]:
    """Hold a program's lock; SkipjackError when another one still holds it after `patience` seconds."""
    until = time.monotonic() + patience
    pause = _FIRST
    while True:
        with locks.Held(path, wait=max(0.0, min(pause, until - time.monotonic()))) as ours:
            if ours:
                yield
                return
        who = described(path)
        if time.monotonic() >= until:
            todo = "Wait for its end, or end that process if it hangs; the next one tries again."
            raise SkipjackError(f"Another {program} is still at work: {who}.", todo)
        note(f"waits for another {program} to end: {who}", about=program)
        pause = _EVERY
