"""Open an SQLite file, and create it only if there never was one: lost state must not be mistaken for a new machine.

SQLite takes a missing or an empty file for a new database. Skipjack therefore creates each database under another name
and renames it, so that it is never empty, and a mark beside it shows that it existed. Cheap to import: every run does.
"""

import _sqlite3 as sqlite3  # without dates and times, which each run and tick would load
import errno
import os
import stat
from collections.abc import Callable

PATIENCE = 30.0
"""Seconds that a writer waits for other writers."""

_MARK = "-mark"
_REMAINS = (_MARK, "-wal", "-shm", "-journal", "-reserve")
"""Endings of files beside a database that show that it existed."""

_FILES = ("", "-wal", "-shm", "-journal", _MARK, "-reserve")
"""Endings of all files of a database; any other file beside it, such as a copy, belongs to the admin."""

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""Errors of file systems without hard links."""

_KINDS = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}


def _no_traces() -> list[str]:
    return []


def fault(path: str, traces: Callable[[], list[str]] = _no_traces) -> str | None:
    """Return why the database at `path` is not the one that was in use; empty if it may be, None for a new machine.

    `traces` returns other files that exist only if the database did; it is called only if that is missing.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            return f"it is a link to {os.readlink(path)}, which does not exist"
        left = [path + ending for ending in _REMAINS if os.path.lexists(path + ending)] + traces()
        if left and os.path.lexists(path):
            return fault(path, traces)  # another process has just created it, and then the files found above
        return f"it is missing, and {left[0]} shows that it was in use" if left else None
    if not stat.S_ISREG(found.st_mode):
        return f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'not a regular file')}"
    return "" if found.st_size else "it is empty (0 bytes), as after a power cut or an interrupted copy"


def make(path: str, fill: Callable[[str], None]) -> None:
    """Create a database: `fill` writes it under another name, then it is renamed.

    Changes nothing if another process was faster. Raises OSError if the folder is not writable.
    """
    aside = f"{path}.new-{os.getpid()}"
    try:
        remove(aside)  # left by a process that was killed
        fill(aside)
        _sync(aside)  # before it gets its name: after a power cut an empty file would count as lost state
        _name(aside, path)
        _sync(os.path.dirname(path) or ".")
    finally:
        remove(aside)


def replace(aside: str, path: str) -> None:
    """Replace a file by one that was written beside it, durably. Raises OSError."""
    _sync(aside)  # before the rename: after a crash the name must not lead to a file without its content
    os.replace(aside, path)
    _sync(os.path.dirname(path) or ".")


def _name(aside: str, path: str) -> None:
    """Rename a file, unless the new name exists."""
    try:
        # Unlike a rename, a link never replaces a database that another process has just created.
        os.link(aside, path)
    except FileExistsError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(aside, path)


def remove(path: str) -> None:
    """Remove a database that was not renamed, with the files that SQLite wrote beside it."""
    for ending in ("", "-wal", "-shm", "-journal"):
        try:
            os.unlink(path + ending)
        except FileNotFoundError:
            continue


def leave_mark(path: str) -> None:
    """Write the mark that a database exists at `path`. Ignores errors: a full disk prevents a new database as well."""
    mark = path + _MARK
    if os.path.exists(mark):
        return
    try:
        descriptor = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{os.path.basename(path)} is in use; remove both to start from scratch.\n".encode())
            give_to_owner(descriptor, path)
        finally:
            os.close(descriptor)
    except OSError:
        return


def removal(path: str, traces: list[str]) -> str:
    """Return the shell command that removes the database at `path`, or a directory there, and its traces."""
    import shlex  # rarely needed, and every run imports this module

    return " ".join(["rm -rf --", *map(shlex.quote, [*(path + ending for ending in _FILES), *traces])])


def give_to_owner(descriptor: int, path: str) -> None:
    """Give an open file to the owner of the folder of `path`, if this is root, who creates the first token."""
    if os.geteuid() == 0:
        folder = os.stat(os.path.dirname(path) or ".")
        os.fchown(descriptor, folder.st_uid, folder.st_gid)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def path_of(connection: sqlite3.Connection) -> str:
    """Return the path of the file that a connection has open."""
    return str(connection.execute("PRAGMA database_list").fetchone()[2])


def connect(path: str, options: str) -> sqlite3.Connection:
    """Open a database with options of SQLite's addresses such as `mode=ro`; no transaction begins by itself."""
    # Characters with a meaning in SQLite's addresses.
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return connect_address(f"file:{quoted}?{options}")


def connect_address(address: str) -> sqlite3.Connection:
    """Open a database by an address of SQLite; no transaction begins by itself."""
    return sqlite3.connect(address, uri=True, timeout=PATIENCE, isolation_level=None)
