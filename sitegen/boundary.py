"""The one error boundary: every way a command can end becomes an exit code and at most one line."""

import logging
import os
import signal
import traceback
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from schemas import bug_reports, standard_streams
from schemas.errors import SkipjackError
from schemas.failures import of_the_machine
from sitegen import output

FINE, EXPECTED, USAGE, BUG = 0, 1, 2, 3


_AGAIN = 1.0
"""Seconds until a Terminated that went under is raised again: Python drops what a finaliser raises."""


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that nothing but the boundary takes it for a failure."""


def run(command: Callable[[], None]) -> int:
    """Run a command and return its exit code; raises nothing but the argument parser's SystemExit."""
    standard_streams.open_missing()
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as behind a `&`
        signal.signal(signal.SIGINT, _interrupt)
    try:
        _flushed(command)
    except SkipjackError as error:
        output.log(str(error))
        return EXPECTED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Terminated:
        return 128 + signal.SIGTERM
    except BrokenPipeError:
        return EXPECTED  # whoever read our output has left, so there is nobody to tell
    except Exception as error:
        failure = of_the_machine(error)
        if failure is None:
            return _report(error)
        output.log(str(failure))
        return EXPECTED
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return FINE


def _flushed(command: Callable[[], None]) -> None:
    """Run a command, also to an end by the argument parser, and fail if what was printed cannot be written."""
    try:
        command()
    except SystemExit:
        standard_streams.flush()
        raise
    standard_streams.flush()


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    logging.disable()  # what a library says of being interrupted helps nobody
    raise KeyboardInterrupt


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    logging.disable()
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    raise Terminated


def _report(error: Exception) -> int:
    """Keep the traceback of a bug in a file and name it."""
    text = "".join(traceback.format_exception(error))
    summary = f"This is a bug: {type(error).__name__}: {error}."
    # systemd names the unit's state directory, which outlives a private /tmp
    state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    path = bug_reports.keep(text, "skipjack-manager-bug", (state, None) if state else (None,))
    if path is None:
        output.log(f"{summary} Its report could not be written to a file:\n{text}")
    else:
        output.log(f"{summary} Please report it with the file {path}.")
    return BUG
