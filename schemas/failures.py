"""Failures of the machine, such as a full disk, with advice; they are not bugs. Cheap to import."""

import errno
import os

from schemas.errors import SkipjackError, causes

_NO_LOCKS = "Put it on a file system that has locks (`flock`), such as a local disk."

_REMEDIES = {
    errno.EMFILE: "Too many files are open: raise the limit (`ulimit -n`, or `LimitNOFILE=` of the unit).",
    errno.ENFILE: "Too many files are open on this machine: raise `fs.file-max`, or find the program that opens them.",
    errno.EAGAIN: "No more processes or threads can be started: raise the limit (`ulimit -u`, or `TasksMax=`).",
    errno.ENOMEM: "There is no memory left: raise the limit (`MemoryMax=` of the unit), or find what uses it.",
    errno.ENOSPC: "Free some space.",
    errno.EDQUOT: "Free some space, or raise the quota.",
    errno.EROFS: "Find out why the file system is read-only: `dmesg` may show it.",
    errno.ENOLCK: _NO_LOCKS,
    errno.ENOSYS: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
    errno.EIO: "Check the disk: `dmesg` may show the cause.",
}
"""What to do about a failure that does not concern one file."""

_IN_IMPORTS = (errno.EMFILE, errno.EAGAIN, errno.ENOMEM)
"""Errors that Python and libraries report as a module that cannot be imported."""

_THREAD = "can't start new thread"

_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""Errors that have nothing to do with the file that they name."""

_NOT_OPENED = frozenset({10, 14})
"""SQLite's result codes IOERR and CANTOPEN, which do not tell a limit from a fault of the file."""

_SPARE = 16
"""A program that can open fewer further files is at its limit: a database and its lock files need several."""


def of_the_machine(error: BaseException) -> str | None:
    """Return what failed, why and what to do, for a failure of the machine; None for any other exception."""
    if isinstance(error, MemoryError):
        return _described("out of memory", errno.ENOMEM)
    # Python raises a plain RuntimeError, so only the text shows what it is.
    if isinstance(error, RuntimeError) and str(error) == _THREAD:
        return _described("cannot start a thread", errno.EAGAIN)
    if isinstance(error, ImportError):
        return next(
            (_described("cannot load a module", each) for each in _IN_IMPORTS if os.strerror(each) in str(error)), None
        )
    if not isinstance(error, OSError) and (todo := limit_behind(error)):
        return f"{error}. {todo}"
    if not isinstance(error, OSError) or (error.filename is None and error.errno not in _REMEDIES):
        return None
    # EEXIST: to create a folder in the place of a dangling link fails like this.
    if error.errno in (errno.ENOENT, errno.EEXIST) and (link := dangling(_name(error.filename or "/"))):
        return f"{link}. {LINK_TODO}"
    place = "cannot open a file or start a process" if error.filename is None else _name(error.filename)
    return _described(f"{place}: {error.strerror}", error.errno)


def limit_behind(error: BaseException) -> str:
    """Return what to do about a limit of open files or memory that has caused an error; empty if none has."""
    for each in causes(error):
        if isinstance(each, OSError) and each.errno in _LIMITS:
            return remedy(each.errno)
        # The low byte of an extended result code is the primary one.
        if getattr(each, "sqlite_errorcode", 0) & 0xFF in _NOT_OPENED and _is_short_of_files():
            return remedy(errno.EMFILE)
    return ""


def advised(error: SkipjackError) -> SkipjackError:
    """Return an error with the advice about the limit that has caused it, if one has: any other advice misleads."""
    todo = limit_behind(error)
    return SkipjackError(error.what, todo) if todo and todo not in error.todo else error


def in_words(error: Exception) -> str:
    """Return an error's message, with the advice about the failure of the machine that has caused it.

    Of a SkipjackError or an OSError it is one line; any other message stays as it is.
    """
    if isinstance(error, SkipjackError):
        return " ".join(str(advised(error)).split())
    if isinstance(error, OSError):
        return " ".join((of_the_machine(error) or str(error)).split())
    todo = limit_behind(error)
    return f"{error}. {todo}" if todo else str(error)


def _is_short_of_files() -> bool:
    opened: list[int] = []
    try:
        while len(opened) < _SPARE:
            opened.append(os.open("/", os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        return error.errno in _LIMITS
    finally:
        for each in opened:
            os.close(each)
    return False


def dangling(path: str) -> str:
    """Return which part of a path is a dangling link, as a clause; empty if none is."""
    path = os.path.abspath(path)
    while path != "/":
        if os.path.islink(path) and not os.path.exists(path):
            return f"{path} is a link to {os.readlink(path)}, which does not exist"
        path = os.path.dirname(path)
    return ""


LINK_TODO = "Restore the target, for example by mounting its disk, or remove the link."


def remedy(number: int | None) -> str:
    """Return what to do about a failure that does not concern one file; empty if it does."""
    return _REMEDIES.get(number or 0, "")


def _name(name: object) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)


def _described(what: str, number: int | None) -> str:
    return f"{what}. {remedy(number) or 'Check the path, its owner and the free space.'}"
