"""Whether a database file may be made: only where none was, so that lost state is never mistaken for a new machine.

SQLite takes a missing or an empty file for a new database. A file of ours is therefore made aside and renamed, never
is empty, and a mark beside it tells that it was there. Cheap to import: every run of a mirror does it.
"""

import errno
import os
import stat
from collections.abc import Callable

_MARK = "-mark"
_REMAINS = (_MARK, "-wal", "-shm", "-journal", "-reserve")
"""Endings of files beside a database that tell that there was one."""

_FILES = ("", "-wal", "-shm", "-journal", _MARK, "-reserve")
"""Endings of all files that are part of a database; any other one beside it, such as a copy, is somebody's own."""

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What a file system says that knows no hard links."""

_KINDS = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def _no_traces() -> list[str]:
    return []


def fault(path: str, traces: Callable[[], list[str]] = _no_traces) -> str | None:
    """Why the database at `path` cannot be the one that was there; empty when it may be, None for a new machine.

    `traces` gives other files that exist only once the database did; it is called only when that is missing.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            return f"it is a link to {os.readlink(path)}, where there is nothing"
        left = [path + ending for ending in _REMAINS if os.path.lexists(path + ending)] + traces()
        if left and os.path.lexists(path):
            return fault(path, traces)  # another process has just made it, and what was found after it
        return f"it is missing, and {left[0]} shows that it was in use" if left else None
    if not stat.S_ISREG(found.st_mode):
        return f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'not a regular file')}"
    return "" if found.st_size else "it is empty (0 bytes), as after a power cut or an unfinished copy"


def make(path: str, fill: Callable[[str], None]) -> None:
    """Make the database where none was: `fill` writes it under another name, then it gets its own.

    Changes nothing when another process was faster. OSError when the folder cannot be written.
    """
    aside = f"{path}.new-{os.getpid()}"
    try:
        remove(aside)  # left by one that was killed
        fill(aside)
        _sync(aside)
        _name(aside, path)
        _sync(os.path.dirname(path) or ".")
    finally:
        remove(aside)


def replace(aside: str, path: str) -> None:
    """Put a file that was written aside in the place of another one, durably; OSError when that fails."""
    _sync(aside)
    os.replace(aside, path)
    _sync(os.path.dirname(path) or ".")


def _name(aside: str, path: str) -> None:
    """Give a file its name, unless another one has it."""
    try:
        os.link(aside, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(aside, path)


def remove(path: str) -> None:
    """Remove a database that was written aside, with what SQLite wrote beside it."""
    for ending in ("", "-wal", "-shm", "-journal"):
        try:
            os.unlink(path + ending)
        except FileNotFoundError:
            continue


def leave_mark(path: str) -> None:
    """Let everybody know that there is a database at `path`; a disk that takes no file takes none later either."""
    mark = path + _MARK
    if os.path.exists(mark):
        return
    try:
        descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{os.path.basename(path)} is in use; remove both to start anew.\n".encode())
            give_to_owner(descriptor, path)
        finally:
            os.close(descriptor)
    except OSError:
        return


def removal(path: str, traces: list[str]) -> str:
    """The shell command that removes the database at `path`, also a directory in its place, and what shows that it
    was in use; no other file."""
    import shlex  # seldom needed, and every run of a mirror imports this module

    return " ".join(["rm -rf --", *map(shlex.quote, [*(path + ending for ending in _FILES), *traces])])


def give_to_owner(descriptor: int, path: str) -> None:
    """Give an open file to the owner of the folder of `path`, where we may: root makes the first token."""
    if os.geteuid() == 0:
        folder = os.stat(os.path.dirname(path) or ".")
        os.fchown(descriptor, folder.st_uid, folder.st_gid)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
