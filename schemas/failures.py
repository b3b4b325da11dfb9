"""Failures of the machine, such as a full disk, with advice; they are not bugs. Cheap to import."""

import errno
import os

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
    if not isinstance(error, OSError) or (error.filename is None and error.errno not in _REMEDIES):
        return None
    # EEXIST: to create a folder in the place of a dangling link fails like this.
    if error.errno in (errno.ENOENT, errno.EEXIST) and (link := dangling(_name(error.filename or "/"))):
        return f"{link}. {LINK_TODO}"
    place = "cannot open a file or start a process" if error.filename is None else _name(error.filename)
    return _described(f"{place}: {error.strerror}", error.errno)


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
