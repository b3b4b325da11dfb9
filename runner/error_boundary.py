"""How a program of the worker fails: in which words, and with which exit code of `schemas/error_boundary.py`."""

from collections.abc import Callable

from runner.base.output import log
from schemas import error_boundary, ownership
from schemas.error_boundary import BUG, EXPECTED
from schemas.errors import SkipjackError
from schemas.failures import advised, limit_behind, of_the_machine
from schemas.standard_streams import ERROR


def guarded(program: Callable[[], int], folder: str | None = None) -> int:
    """Run a program and return its exit code.

    `folder` is the state directory, if it is known: bug reports go there, or into the temporary folder.
    """
    return error_boundary.guarded(program, lambda error: _failed(error, folder))


def _failed(error: Exception, folder: str | None) -> int:
    """Log an error; return the exit code."""
    if isinstance(error, SkipjackError):
        return _expected(advised(error), folder)
    failure = _denial(error, folder) or of_the_machine(error) or damage_behind(error, folder)
    if failure is None:
        log(report(error, folder), about="skipjack", level=ERROR)
        return BUG
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


def report(error: Exception, folder: str | None) -> str:
    """Write the traceback of a bug to a file in `folder` or the temporary folder; return the message for people.

    An error that a damaged journal explains is not a bug: then the message is about the damage.
    """
    if damage := damage_behind(error, folder):
        return str(damage)
    from schemas import bug_reports

    return bug_reports.report(error, "skipjack-bug", (folder, None))
