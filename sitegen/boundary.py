"""How a command of the manager ends by a signal, and in which words it fails; see `schemas/error_boundary.py`."""

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType

from schemas import bug_reports, error_boundary
from schemas.errors import SkipjackError
from schemas.failures import advised, of_the_machine
from sitegen import output

_AGAIN = 1.0
"""Seconds until SIGTERM is sent again, in case Terminated was lost: Python drops what the callback of a weak reference
raises."""

_SOON = 0.05
"""Seconds until a signal is sent again that arrived where its exception would be lost."""

_IMPORT_SYSTEM = "<frozen importlib._bootstrap>"


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that only the boundary catches it."""


def run(command: Callable[[], None]) -> int:
    """Run a command and return its exit code; raises nothing but the argument parser's SystemExit."""
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job ignores it
        signal.signal(signal.SIGINT, _interrupt)
    try:
        return error_boundary.guarded(command, _failed)
    except Terminated:
        return 128 + signal.SIGTERM
    finally:
        # The command has ended, so the alarm must not interrupt what follows.
        signal.setitimer(signal.ITIMER_REAL, 0)


@contextlib.contextmanager
def deferred_signals() -> Iterator[None]:
    """Deliver the signals that end a command after the block, in which an event loop runs.

    It drops what a signal's handler raises in a callback, and cannot be closed after an exception at the wrong moment.
    """
    with _masked(signal.SIG_BLOCK):
        yield


@contextlib.contextmanager
def delivered_signals() -> Iterator[None]:
    """Within `deferred_signals`, deliver signals in the block, which has handlers that do not raise."""
    with _masked(signal.SIG_UNBLOCK):
        yield


@contextlib.contextmanager
def _masked(how: int) -> Iterator[None]:
    before = signal.pthread_sigmask(how, (signal.SIGTERM, signal.SIGINT, signal.SIGALRM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _would_be_lost(frame):
        _repeat(number, _SOON)
        return
    logging.disable()  # libraries would log that they were interrupted
    raise KeyboardInterrupt


def _terminate(number: int, frame: FrameType | None) -> None:
    if _would_be_lost(frame):
        _repeat(number, _SOON)
        return
    logging.disable()
    _repeat(number, _AGAIN)
    raise Terminated


def _would_be_lost(frame: FrameType | None) -> bool:
    """Return whether the command imports a module or runs a finaliser.

    Modules compiled by Cython drop exceptions while they are imported, and Python drops those of finalisers.
    """
    while frame is not None and frame.f_code is not run.__code__:
        if frame.f_code.co_filename == _IMPORT_SYSTEM or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def _repeat(number: int, seconds: float) -> None:
    """Send a signal to this process again: its handler may then be another one, such as that of the web server."""
    signal.signal(signal.SIGALRM, lambda _number, _frame: signal.raise_signal(number))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _failed(error: Exception) -> int:
    """Log an error; return the exit code."""
    failure = advised(error) if isinstance(error, SkipjackError) else of_the_machine(error)
    if failure is not None:
        output.log(str(failure))
        return error_boundary.EXPECTED
    # The unit's state directory outlives its private /tmp.
    state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    output.log(bug_reports.report(error, "skipjack-manager-bug", (state, None) if state else (None,)))
    return error_boundary.BUG
