"""The journal's file: how it is opened, how its tables are made, and what a transaction is.

Transactions are explicit and begin IMMEDIATE with a patience of 30 seconds: deferred ones fail at once when 16 runs
write at the same time.
"""

import _sqlite3 as sqlite3  # without dates and times, which each run and tick would load
import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from runner.journal.migrations import MIGRATIONS
from schemas import ownership, presence
from schemas.errors import SkipjackError
from schemas.regular_files import regular

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds that a writer waits for the others."""

HELD_BACK = 256 * 1024
"""Bytes that are held back for ends of runs: some dozens find room in there."""


GIVEN_BACK, KEPT = 4 * 1024**2, 1024**2
"""Bytes of unused room from which some is given back to the disk, and how much is kept for what comes."""

REWRITTEN = 64 * 1024**2
"""Bytes that a journal may hold to be written anew as a whole, which takes a few seconds at most."""

_STEP = 256
"""Pages that are given back in one transaction."""

_INCREMENTAL = 2
"""SQLite's number for files whose unused pages can be given back one by one."""


@contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """Open the journal, made on a new machine and brought to this version's tables when needed.

    SkipjackError when it cannot be opened, is damaged, or is not the one that was here.
    """
    _require(path)
    with _explained(path):
        connection = sqlite3.connect(f"file:{quoted(path)}?mode=rw", timeout=PATIENCE, uri=True, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            _prepare(connection, path, _back_up)
            presence.leave_mark(path)
            yield connection
        finally:
            connection.close()


def check(path: str) -> None:
    """Check that the journal, if this machine has had one, is there and can be opened; SkipjackError if not."""
    if _fault(path) is not None:
        with opened(path):
            pass


def _fault(path: str) -> str | None:
    """Why the journal cannot be the one that was here; None on a new machine."""
    return presence.fault(path, lambda: _traces(path))


def _traces(path: str) -> list[str]:
    from runner.journal.database_marks import of_journal  # needed only when something is wrong

    return of_journal(path)


def _require(path: str) -> None:
    """Make the journal on a new machine; SkipjackError when its state is lost."""
    try:
        fault = _fault(path)
        if fault is None:
            presence.make(path, _fill)
            fault = _fault(path)
    except sqlite3.Error as error:
        raise SkipjackError(f"The journal {path} cannot be made: {error}.", _ROOM) from error
    except OSError as error:
        todo = _outage_todo(path) if error.errno in (errno.EACCES, errno.EPERM) else _FOLDER
        raise SkipjackError(f"The journal {path} cannot be opened: {error.strerror}.", todo) from error
    if fault:
        raise SkipjackError(f"The journal {path} cannot be used: {fault}.", _anew(path))


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if _is_outage(error):
            raise SkipjackError(f"The journal {path} cannot be used: {error}.", _outage_todo(path)) from error
        raise _damaged(path, str(error)) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
    except UNREADABLE as error:
        damage = damage_behind(error, path)
        if damage is None:
            raise
        raise damage from error


def damage_behind(error: Exception, path: str) -> SkipjackError | None:
    """Return what is damaged in the journal, when an error may come from that; None when it is a bug instead."""
    is_no_date = isinstance(error, OSError) and error.errno == errno.EOVERFLOW
    if not (isinstance(error, UNREADABLE) or is_no_date) or not os.path.isfile(path):
        return None
    from runner.journal.damage import examine

    fault = examine(path)
    return None if fault is None else _damaged(path, fault)


UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What reading a damaged value may raise."""

_OUTAGES = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS,
})  # fmt: skip
"""SQLite's results for what a disk, a limit or another process does; any other one is the file's own fault."""


def _is_outage(error: sqlite3.OperationalError) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _OUTAGES


def _damaged(path: str, fault: str) -> SkipjackError:
    return SkipjackError(f"The journal {path} is damaged: {' '.join(fault.split())}.", _anew(path))


_FOLDER = "Check the folder, its owner and the free space."
_ROOM = "See whether the disk is full or read-only; nothing was recorded."


def _outage_todo(path: str) -> str:
    """What to do when a journal cannot be written: most often the disk's fault, for another user the user's."""
    todo = ownership.remedy(path, os.path.dirname(path))
    return f"{todo} Nothing was recorded." if todo else _ROOM


_BACKUP = "move it away with its `-wal`, `-shm` and `-journal`, and put a backup there"
"""SQLite would play what lies beside the old journal into the backup."""


def _anew(path: str) -> str:
    return (
        f"Nothing runs until it is back: {_BACKUP}. To start anew instead, with every mirror due and none "
        f"paused or disabled, run `{presence.removal(path, _traces(path))}`."
    )


def quoted(path: str) -> str:
    """A path as it stands in an address for SQLite."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _fill(path: str) -> None:
    """Write a journal in which nothing has happened yet."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        _migrate(connection, _keep_nothing)
    finally:
        connection.close()


@contextmanager
def copied(path: str) -> Iterator[sqlite3.Connection]:
    """A copy of the journal in memory, with this version's tables; empty on a new machine.

    The journal itself is only read, also by a user who may not write it. SkipjackError when it cannot be read, is
    damaged, or is not the one that was here.
    """
    from runner.journal import readonly_copy  # runs and ticks do without it

    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as copy, _explained(path):
        copy.row_factory = sqlite3.Row
        if _is_new(path):
            _migrate(copy, _keep_nothing)
        else:
            if not readonly_copy.copied_at_rest(path, copy):
                with contextlib.closing(readonly_copy.connected(path)) as source:
                    source.backup(copy)
            _prepare(copy, path, _keep_nothing)
        yield copy


def _is_new(path: str) -> bool:
    """Whether this machine never had a journal; SkipjackError when the one that it had is lost or cannot be reached."""
    try:
        fault = _fault(path)
    except OSError as error:
        todo = ownership.remedy(path, os.path.dirname(path)) or "Check the folder and its owner."
        raise SkipjackError(f"The journal {path} cannot be read: {error.strerror}.", todo) from error
    if fault:
        raise SkipjackError(f"The journal {path} cannot be used: {fault}.", _anew(path))
    return fault is None


def _prepare(connection: sqlite3.Connection, path: str, keep: "Keep") -> None:
    connection.execute("PRAGMA synchronous=FULL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        what = f"The journal {path} was written by a newer version, or by another program."
        raise SkipjackError(what, f"Install that version again, or {_BACKUP}{_own_copy(path)}.")
    if version == len(MIGRATIONS):
        _use_wal(connection)
        return
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'identity'").fetchone():
        raise SkipjackError(f"The file {path} is not a journal of Skipjack.", _anew(path))
    _use_wal(connection)
    _migrate(connection, keep)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Put a journal into WAL mode that is not, as a backup made with VACUUM INTO; writes nothing to any other.

    Where that fails the journal is as safe, only slower. So it is left to the next program that opens the journal:
    SQLite lets one of two that try at once fail without waiting, and a full disk must not keep a run from ending.
    """
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")


def _migrate(connection: sqlite3.Connection, keep: "Keep") -> None:
    """Bring the tables to this version; `keep` is called before, with the version that they have, if it is older."""
    with transaction(connection):
        version = connection.execute("PRAGMA user_version").fetchone()[0]  # another process may have been faster
        if version < len(MIGRATIONS):
            keep(connection, version)
        for step in MIGRATIONS[version:]:
            for statement in filter(str.strip, step.split(";")):
                connection.execute(statement)
        if not connection.execute("SELECT 1 FROM identity").fetchone():
            connection.execute("INSERT INTO identity (journal, acknowledged) VALUES (?, 0)", (os.urandom(16).hex(),))
        connection.execute(f"PRAGMA user_version={len(MIGRATIONS):d}")


Keep = Callable[[sqlite3.Connection, int], None]
"""What is done with tables of an older version before they are changed."""


def _keep_nothing(_connection: sqlite3.Connection, _version: int) -> None:
    """For tables that are not the machine's own ones, or hold nothing yet."""


def backup_path(path: str, version: int) -> str:
    """Where the journal is copied to before its tables of that version are changed."""
    return f"{path}-of-version-{version}"


def _own_copy(path: str) -> str:
    """Words about the newest copy that this release can read, if a migration has left one."""
    kept = (backup_path(path, version) for version in range(len(MIGRATIONS), 0, -1))
    return next((f", such as `{each}`" for each in kept if os.path.exists(each)), "")


def _back_up(connection: sqlite3.Connection, version: int) -> None:
    """Copy the journal as it is before a migration, for the way back to the release that wrote it.

    Nobody writes meanwhile, since the transaction of the migration has begun. SkipjackError when there is no room.
    """
    from runner.journal import readonly_copy  # seldom needed

    path = _file(connection)
    target = backup_path(path, version)
    aside = f"{target}.new"
    try:
        presence.remove(aside)  # left by one that was killed
        with contextlib.closing(readonly_copy.connected(path)) as source:
            source.execute("VACUUM INTO ?", (aside,))
        with contextlib.closing(sqlite3.connect(aside, isolation_level=None)) as copy:
            copy.execute("PRAGMA journal_mode=WAL")  # which VACUUM INTO does not keep, and earlier releases do not set
        os.chmod(aside, os.stat(path).st_mode & 0o777)
        presence.replace(aside, target)
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or error
        what = f"The journal {path} cannot be backed up to {target}, so it was not brought to this release: {why}."
        todo = "See whether the disk is full or read-only; the earlier release still works."
        raise SkipjackError(what, todo) from error


def hold_back(connection: sqlite3.Connection) -> None:
    """Take the room on the journal's disk that the end of a run may need. It is the last thing that must not be lost;
    without room nothing is held back."""
    path = _held_back(connection)
    if os.path.exists(path):
        return
    aside = f"{path}.new"
    with suppress(OSError):
        try:
            with open(aside, "wb", opener=regular) as file:
                file.write(os.urandom(HELD_BACK))  # nothing that a file system would make smaller
            os.replace(aside, path)
        except OSError:
            os.unlink(aside)


def with_room(connection: sqlite3.Connection, change: Callable[[], T]) -> T:
    """Make a change as one transaction, if need be in the room that was held back."""
    try:
        with transaction(connection):
            return change()
    except sqlite3.OperationalError as error:
        try:
            os.unlink(_held_back(connection))
        except OSError:
            raise error from None  # there is none left
    with transaction(connection):
        return change()


def _held_back(connection: sqlite3.Connection) -> str:
    return _file(connection) + "-reserve"


def _file(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA database_list").fetchone()[2])


def give_back(connection: sqlite3.Connection) -> None:
    """Give room that the journal does not use back to the disk, as after the reports of a week were delivered.

    In small steps, between which others write; a disk without room, or one who reads, leaves the rest for later.
    """
    if _unused(connection) < GIVEN_BACK:
        return
    with suppress(sqlite3.OperationalError):
        if _pragma(connection, "auto_vacuum") != _INCREMENTAL:
            _make_incremental(connection)
        before = None  # one of an earlier release that is too large gives nothing back
        while before != (left := _unused(connection)) and left > KEPT and _free_on_disk(connection) > 2 * GIVEN_BACK:
            before = left
            connection.execute(f"PRAGMA incremental_vacuum({_STEP:d})").fetchall()
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        connection.execute("PRAGMA busy_timeout=1000")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.execute(f"PRAGMA busy_timeout={PATIENCE * 1000:.0f}")


def _make_incremental(connection: sqlite3.Connection) -> None:
    """Write a journal of an earlier release anew, if that is quick and there is room: meanwhile nobody else writes."""
    used = (_pragma(connection, "page_count") - _pragma(connection, "freelist_count")) * _pragma(
        connection, "page_size"
    )
    if used <= REWRITTEN and _free_on_disk(connection) > 3 * used + GIVEN_BACK:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("VACUUM")


def _unused(connection: sqlite3.Connection) -> int:
    return _pragma(connection, "freelist_count") * _pragma(connection, "page_size")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _free_on_disk(connection: sqlite3.Connection) -> int:
    found = os.statvfs(os.path.dirname(_file(connection)))
    return found.f_bavail * found.f_frsize


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Do several things as one, durably; part of a transaction that is under way already."""
    part_of_another = bool(connection.in_transaction)
    if part_of_another:
        yield
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk makes SQLite undo everything by itself
            connection.execute("ROLLBACK")
        raise


@contextmanager
def if_there_is_room(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that a disk without room makes nothing of."""
    with suppress(sqlite3.OperationalError), transaction(connection):
        yield


@contextmanager
def or_failed(what: str) -> Iterator[None]:
    """Turn what a disk or another process does to a change into a SkipjackError that says `what` could not be done."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise SkipjackError(f"{what}: {error}.", _ROOM) from error


def marks(values: frozenset[str]) -> str:
    """As many question marks as there are values."""
    return ", ".join("?" * len(values))
