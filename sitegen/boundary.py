"""The error boundary: turns every way a command can end into an exit code and at most one message."""

import logging
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from schemas import bug_reports, standard_streams
from schemas.errors import SkipjackError
from schemas.failures import advised, of_the_machine
from sitegen import output

FINE, EXPECTED, USAGE, BUG = 0, 1, 2, 3

_AGAIN = 1.0
"""Seconds until Terminated is raised again, in case it was lost: Python drops what a finaliser raises."""


class Terminated(BaseException):
    """SIGTERM arrived. Not an Exception, so that only the boundary catches it."""


def run(command: Callable[[], None]) -> int:
    """Run a command and return its exit code; raises nothing but the argument parser's SystemExit."""
    # First: a file opened before would get the number of a closed standard stream.
    standard_streams.open_missing()
    # SIGALRM repeats a SIGTERM that was lost, so both have one handler.
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _terminate)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job ignores it
        signal.signal(signal.SIGINT, _interrupt)
    try:
        standard_streams.flushed(command)
    except SkipjackError as error:
        output.log(str(advised(error)))
        return EXPECTED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT  # what a shell reports of a program that the signal has ended
    except Terminated:
        return 128 + signal.SIGTERM
    except BrokenPipeError:
        return EXPECTED  # the reader of the output is gone, and stderr is often the same pipe
    except Exception as error:
        failure = of_the_machine(error)
        if failure is None:
            return _report(error)
        output.log(str(failure))
        return EXPECTED
    finally:
        # The command has ended, so the alarm must not interrupt what follows.
        signal.setitimer(signal.ITIMER_REAL, 0)
    return FINE


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    logging.disable()  # libraries would log that they were interrupted
    raise KeyboardInterrupt


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    logging.disable()
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    raise Terminated


def _report(error: Exception) -> int:
    """Write the traceback of a bug to a file and log its path; returns the exit code."""
    # The unit's state directory outlives its private /tmp.
    state = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    output.log(bug_reports.report(error, "skipjack-manager-bug", (state, None) if state else (None,)))
    return BUG
