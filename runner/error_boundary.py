"""The worker's error boundary: every way a program can end becomes an exit code and at most one message.

0 is success, 1 an expected failure, 3 a bug (its traceback is kept in a file), 130 and 143 are signals. Usage errors
(2) come from the argument parser.
"""

import signal
from collections.abc import Callable

from runner.base.output import log
from schemas import ownership, standard_streams
from schemas.errors import SkipjackError
from schemas.failures import advised, limit_behind, of_the_machine
from schemas.standard_streams import ERROR

EXPECTED, BUG = 1, 3


def guarded(program: Callable[[], int], folder: str | None = None) -> int:
    """Run a program and return its exit code.

    `folder` is the state directory, if it is known: bug reports go there, or into the temporary folder.
    """
    standard_streams.open_missing()
    try:
        return _outcome(program, folder)
    except KeyboardInterrupt:
        # As a shell reports the end by a signal.
        return 128 + signal.SIGINT


def _outcome(program: Callable[[], int], folder: str | None) -> int:
    """Run a program, and report an error; returns the exit code. Ctrl-C can also interrupt the report."""
    try:
        return standard_streams.flushed(program)
    except SkipjackError as error:
        return _expected(advised(error), folder)
    except BrokenPipeError:
        return EXPECTED  # the reader of our output has gone, as `head` does: no message can reach it
    except Exception as error:
        failure = _denial(error, folder) or of_the_machine(error) or damage_behind(error, folder)
        if failure is None:
            return _bug(error, folder)
        log(str(failure), about="skipjack", level=ERROR, has_addresses=False)
        return EXPECTED


def _expected(error: SkipjackError, folder: str | None) -> int:
    try:
        log(str(_denial(error, folder) or error), about="skipjack", level=ERROR)
    except OSError as unreadable:  # at the limit of open files the module that masks addresses cannot be loaded
        log(of_the_machine(unreadable) or str(unreadable), about="skipjack", level=ERROR, has_addresses=False)
    return EXPECTED


def _denial(error: Exception, folder: str | None) -> SkipjackError | str | None:
    """Return the message for a denied access; with too many open files, which looks the same to SQLite, that one."""
    if limit_behind(error):
        return None
    try:
        return ownership.denial(error, folder) if folder else None
    except OSError as unreadable:  # the advice needs a module and looks at files
        return of_the_machine(unreadable)


def damage_behind(error: Exception, folder: str | None) -> SkipjackError | None:
    """Return the damage in the journal of a state directory that explains an error; None if there is none.

    Values from the journal are often used after it is closed, where the journal's own checks cannot see the error.
    """
    if not folder:
        return None
    from runner.base.state_dir import StateLayout
    from runner.journal import sqlite_file

    return sqlite_file.damage_behind(error, StateLayout(folder).journal)


def _bug(error: Exception, folder: str | None) -> int:
    log(report(error, folder), about="skipjack", level=ERROR)
    return BUG


def report(error: Exception, folder: str | None) -> str:
    """Write the traceback of a bug to a file in `folder` or the temporary folder; return the message for people.

    An error that a damaged journal explains is not a bug: then the message is about the damage.
    """
    if damage := damage_behind(error, folder):
        return str(damage)
    from schemas import bug_reports

    return bug_reports.report(error, "skipjack-bug", (folder, None))
