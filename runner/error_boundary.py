"""The one error boundary: whatever a program does, a person sees a message and the exit code tells what it was.

0 fine, 1 an expected failure, 3 a bug of ours (kept with its traceback in a file), 130 and 143 for signals; usage
errors (2) are the argument parser's.
"""

import signal
from collections.abc import Callable

from runner.base.output import log
from schemas import ownership, standard_streams
from schemas.errors import SkipjackError
from schemas.failures import of_the_machine
from schemas.standard_streams import ERROR

EXPECTED, BUG = 1, 3


def guarded(program: Callable[[], int], folder: str | None = None) -> int:
    """Run a program and give its exit code. `folder` is the state folder, where it is known: a bug's report goes there,
    or into the temporary folder."""
    standard_streams.open_missing()
    try:
        return _flushed(program)
    except SkipjackError as error:
        log(str(_denial(error, folder) or error), about="skipjack", level=ERROR)
        return EXPECTED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        return EXPECTED  # whoever read our output has gone; there is nobody to tell
    except Exception as error:
        failure = _denial(error, folder) or of_the_machine(error) or damage_behind(error, folder)
        if failure is None:
            return _bug(error, folder)
        log(str(failure), about="skipjack", level=ERROR, has_addresses=False)
        return EXPECTED


def _flushed(program: Callable[[], int]) -> int:
    """Run a program, also to an end by the argument parser, and fail if what was printed cannot be written."""
    try:
        code = program()
    except SystemExit:
        standard_streams.flush()
        raise
    standard_streams.flush()
    return code


def _denial(error: Exception, folder: str | None) -> SkipjackError | None:
    return ownership.denial(error, folder) if folder else None


def damage_behind(error: Exception, folder: str | None) -> SkipjackError | None:
    """Return what is damaged in the journal of a state folder, when an error may come from that.

    Values that were read are often used after the journal is closed.
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
    """Keep a bug with its traceback in a file, in `folder` or the temporary one; gives what to tell people of it.

    An error that a damaged journal explains is no bug, and is told as that.
    """
    if damage := damage_behind(error, folder):
        return str(damage)
    import traceback

    from schemas import bug_reports

    text = "".join(traceback.format_exception(error))
    path = bug_reports.keep(text, "skipjack-bug", (folder, None))
    if path is None:
        return f"This is a bug, and its report could not be kept:\n{text}"
    return f"This is a bug: {type(error).__name__}: {error}. Please report it with the file {path}."
