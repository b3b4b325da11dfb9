"""Standard output and standard error, which may be closed, full or without a reader. Cheap to import.

After a failed write nothing more is written to standard output: Python would try again at the exit, fail, and change
the exit code to 120.
"""

import errno
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

_NO_READER = (errno.EPIPE, errno.EBADF)


def open_missing() -> None:
    """Open the null device for standard streams that are closed, so that no file of ours gets their numbers.

    `sys.stdout` stays None then, which `write` takes for a reader that has gone; messages are dropped.
    """
    if sys.stdin and sys.stdout and sys.stderr:
        return
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        os.set_inheritable(descriptor, True)
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    if not sys.stderr:
        sys.stderr = _standard_error()


def write(text: str) -> None:
    """Write to standard output at once.

    BrokenPipeError when it is closed or nobody reads it; OSError that names it when it cannot be written otherwise.
    """
    if not sys.stdout:
        raise BrokenPipeError(errno.EPIPE, "standard output is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        drop()
        if error.errno in _NO_READER:
            raise BrokenPipeError(errno.EPIPE, "nobody reads standard output") from error
        raise OSError(error.errno, error.strerror, "standard output") from error


def flush() -> None:
    """Write what others, as the parser of arguments, have left unwritten; fails as `write` does."""
    if sys.stdout:
        write("")


def drop() -> None:
    """Give up what was not written yet and all that follows."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 1)
    os.close(null)


def tell(text: str) -> None:
    """Write to standard error; what cannot be written there is dropped."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:  # what could not be written must not be tried again at the exit, whose code would become 120
        sys.stderr = _standard_error()


def _standard_error() -> "TextIO":
    return open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
