"""The error boundary of both programs: every way one can end becomes an exit code and at most one message.

0 is success, 1 an expected failure, 3 a bug (its traceback is kept in a file), 128 and more a signal. Usage errors (2)
come from the argument parser. The rooms word and log their failures.
"""

import signal
from collections.abc import Callable

from schemas import standard_streams

EXPECTED, BUG = 1, 3


def guarded(program: Callable[[], int | None], failed: Callable[[Exception], int]) -> int:
    """Run a program and return its exit code; `failed` logs what it raised and returns the code for that.

    Only the argument parser's SystemExit leaves it, and exceptions of the rooms that are not an Exception.
    """
    # First: a file opened before would get the number of a closed standard stream.
    standard_streams.open_missing()
    try:
        return _outcome(program, failed)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # what a shell reports of a program that the signal has ended


def _outcome(program: Callable[[], int | None], failed: Callable[[Exception], int]) -> int:
    """Run a program, and report an error; returns the exit code. A signal can also interrupt the report."""
    try:
        return standard_streams.flushed(program) or 0
    except BrokenPipeError:
        return EXPECTED  # the reader of the output has gone, as `head` does: a message could not reach it either
    except Exception as error:
        return failed(error)
