"""Standard output and standard error, which may be closed, full or without a reader, and the form of log lines.

Every program imports this, so it imports next to nothing.

After a failed write nothing more is written to standard output: Python would try again at the exit, fail, and change
the exit code to 120.
"""

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TypeVar

from schemas.terminal import plain

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

T = TypeVar("T")

# EBADF: the stream was closed before the program started, as by `>&-`.
_NO_READER = (errno.EPIPE, errno.EBADF)

INFO, WARNING, ERROR = "INFO", "WARNING", "ERROR"
"""Levels of log lines."""

_PRIORITIES = {"DEBUG": 7, INFO: 6, WARNING: 4, ERROR: 3, "CRITICAL": 2}
"""The number that the journal reads from `<N>` at the start of a line, as sd-daemon(3) has it."""


def open_missing() -> None:
    """Open the null device for standard streams that are closed, so that no other file gets their numbers.

    `sys.stdout` stays None, which `write` treats like a closed pipe; messages are dropped.
    """
    if sys.stdin and sys.stdout and sys.stderr:
        return
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        # As standard streams are: a child would otherwise start with closed ones.
        os.set_inheritable(descriptor, True)
        descriptor = os.open(os.devnull, os.O_RDWR)
    os.close(descriptor)
    if not sys.stderr:
        sys.stderr = _standard_error()


def write(text: str) -> None:
    """Write to standard output at once.

    Raises BrokenPipeError if it is closed or has no reader, and OSError with its name for any other error.
    """
    if not sys.stdout:
        raise BrokenPipeError(errno.EPIPE, "standard output is closed")
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        drop()
        if error.errno in _NO_READER:
            raise BrokenPipeError(errno.EPIPE, "standard output has no reader") from error
        raise OSError(error.errno, error.strerror, "standard output") from error


def flush() -> None:
    """Write buffered text, for example of the argument parser. Raises the same errors as `write`."""
    if sys.stdout:
        write("")


def flushed(program: "Callable[[], T]") -> T:
    """Run a program and flush its output, also after the argument parser's SystemExit; OSError if that fails."""
    try:
        result = program()
    except SystemExit:
        flush()
        raise
    flush()
    return result


def drop() -> None:
    """Discard buffered and all further output."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, 1)
    os.close(null)


def write_error(text: str) -> None:
    """Write to standard error; text that cannot be written is dropped."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        sys.stderr = _standard_error()  # without the text


def log_lines(level: str, about: str, text: str) -> str:
    """Return a message as all programs log it, `LEVEL ABOUT: text` for each line of `text`.

    `about` is a program or a mirror. The journal gets the level as its priority, `<3>ABOUT: text`.
    """
    head = f"<{_PRIORITIES.get(level, 6)}>" if _is_journal() else f"{level} "
    return "".join(f"{head}{about}: {plain(line)}\n" for line in text.splitlines())


def _is_journal() -> bool:
    """Return whether standard error is the journal's socket.

    A child whose standard error goes elsewhere inherits the variable too, so its value is compared.
    """
    named = os.environ.get("JOURNAL_STREAM")
    if not named:
        return False
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return named == f"{found.st_dev}:{found.st_ino}"


def _standard_error() -> "TextIO":
    """Return a stream without a buffer, in which text that cannot be written would stay.

    Python would try again at the exit, or from 3.13 on when the stream is deleted, and change the exit code to 120.
    """
    file = io.FileIO(2, "w", closefd=False)
    return io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", write_through=True)
