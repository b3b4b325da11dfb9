"""What is no bug of ours: failures of the machine, in words that say what to do. Cheap to import."""

import errno
import os

_NO_LOCKS = "Put it on a file system that has locks (`flock`), such as a local disk."

_REMEDIES = {
    errno.EMFILE: "Too many files are open: raise the limit (`ulimit -n`, or `LimitNOFILE=` of the unit).",
    errno.ENFILE: "Too many files are open on this machine: raise `fs.file-max`, or see which program has so many.",
    errno.EAGAIN: "No more processes or threads may be started: raise the limit (`ulimit -u`, or `TasksMax=`).",
    errno.ENOMEM: "There is no memory left: raise the limit (`MemoryMax=` of the unit), or see which program has it.",
    errno.ENOSPC: "Free some space.",
    errno.EDQUOT: "Free some space, or raise the quota.",
    errno.EROFS: "See why the file system is read-only: `dmesg` may tell.",
    errno.ENOLCK: _NO_LOCKS,
    errno.ENOSYS: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
    errno.EIO: "Check the disk: `dmesg` may tell.",
}
"""What to do about a failure that has nothing to do with one file."""

_IN_IMPORTS = (errno.EMFILE, errno.EAGAIN, errno.ENOMEM)
"""Failures that Python and libraries tell as a module that cannot be loaded."""

_THREAD = "can't start new thread"


def of_the_machine(error: BaseException) -> str | None:
    """Return what failed, why and what to do, for an exception that no bug of ours causes; None for any other."""
    if isinstance(error, MemoryError):
        return _told("Out of memory", errno.ENOMEM)
    if isinstance(error, RuntimeError) and str(error) == _THREAD:
        return _told("A thread cannot be started", errno.EAGAIN)
    if isinstance(error, ImportError):
        return next(
            (_told("A module cannot be loaded", each) for each in _IN_IMPORTS if os.strerror(each) in str(error)), None
        )
    if not isinstance(error, OSError) or (error.filename is None and error.errno not in _REMEDIES):
        return None
    if error.errno in (errno.ENOENT, errno.EEXIST) and (link := dangling(_name(error.filename or "/"))):
        return f"{link}. {LINK_TODO}"
    place = "A file or a process cannot be had" if error.filename is None else _name(error.filename)
    return _told(f"{place}: {error.strerror}", error.errno)


def dangling(path: str) -> str:
    """Return which part of a path is a link to nothing, in words; empty text when none is."""
    path = os.path.abspath(path)
    while path != "/":
        if os.path.islink(path) and not os.path.exists(path):
            return f"{path} is a link to {os.readlink(path)}, where there is nothing"
        path = os.path.dirname(path)
    return ""


LINK_TODO = "Bring the target back, as by mounting its disk, or remove the link."


def remedy(number: int | None) -> str:
    """What to do about a failure that has nothing to do with one file; empty when it has to do with one."""
    return _REMEDIES.get(number or 0, "")


def _name(name: object) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)


def _told(what: str, number: int | None) -> str:
    return f"{what}. {remedy(number) or 'Check the path, its owner and the free space.'}"
