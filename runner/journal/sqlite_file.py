"""Open the journal's file, create and migrate its tables, and run transactions.

Transactions are explicit and start as IMMEDIATE with a timeout of 30 seconds: deferred ones fail at once when 16 runs
write at the same time, because SQLite does not wait to upgrade a read lock.
"""

import _sqlite3 as sqlite3  # without dates and times, which each run and tick would load
import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from runner.journal.migrations import MIGRATIONS
from schemas import ownership, sqlite_database
from schemas.errors import SkipjackError

T = TypeVar("T")

HELD_BACK = 256 * 1024
"""Bytes reserved on the disk for the ends of runs, enough for some dozens."""


@contextmanager
def opened(path: str) -> Iterator[sqlite3.Connection]:
    """Open the journal; create it on a new machine and migrate its tables if needed.

    SkipjackError if it cannot be opened, is damaged, or is not the one that was here before.
    """
    _require(path)
    with _explained(path):
        connection = sqlite_database.connect(path, "mode=rw")
        try:
            connection.row_factory = sqlite3.Row
            _prepare(connection, path, _back_up)
            sqlite_database.leave_mark(path)
            yield connection
        finally:
            connection.close()


def check(path: str) -> None:
    """Check that the journal exists and can be opened, unless this machine is new; SkipjackError if not."""
    if _fault(path) is not None:
        with opened(path):
            pass


def _fault(path: str) -> str | None:
    """Return why the journal cannot be the one that was here; empty if it can, None on a new machine."""
    return sqlite_database.fault(path, lambda: _marks(path))


def _marks(path: str) -> list[str]:
    from runner.journal.database_marks import of_journal  # needed only if something is wrong

    return of_journal(path)


def _require(path: str) -> None:
    """Create the journal on a new machine; SkipjackError if its state is lost."""
    try:
        fault = _fault(path)
        if fault is None:
            sqlite_database.make(path, _fill)
            fault = _fault(path)
    except sqlite3.Error as error:
        raise SkipjackError(f"cannot create the journal {path}: {error}.", _ROOM) from error
    except OSError as error:
        todo = _outage_todo(path) if error.errno in (errno.EACCES, errno.EPERM) else _FOLDER
        raise SkipjackError(f"cannot open the journal {path}: {error.strerror}.", todo) from error
    if fault:
        raise SkipjackError(f"cannot use the journal {path}: {fault}.", _restore(path))


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if _is_outage(error):
            raise SkipjackError(f"cannot use the journal {path}: {error}.", _outage_todo(path)) from error
        raise _damaged(path, str(error)) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error
    except UNREADABLE as error:
        damage = damage_behind(error, path)
        if damage is None:
            raise
        raise damage from error


def damage_behind(error: Exception, path: str) -> SkipjackError | None:
    """Return the damage in the journal that explains an error; None if the error is a bug instead."""
    is_no_date = isinstance(error, OSError) and error.errno == errno.EOVERFLOW
    if not (isinstance(error, UNREADABLE) or is_no_date) or not os.path.isfile(path):
        return None
    from runner.journal.damage import examine

    fault = examine(path)
    return None if fault is None else _damaged(path, fault)


UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""Exceptions that a damaged value can cause when it is read."""

_OUTAGES = frozenset({
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM, sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOLFS,
})  # fmt: skip
"""SQLite's result codes for problems of the disk, a limit or another process; any other one means a damaged file."""


def _is_outage(error: sqlite3.OperationalError) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _OUTAGES


def _damaged(path: str, fault: str) -> SkipjackError:
    return SkipjackError(f"the journal {path} is damaged: {' '.join(fault.split())}.", _restore(path))


_FOLDER = "Check the folder, its owner and the free space."
_ROOM = "Check whether the disk is full or read-only; nothing was recorded."


def _outage_todo(path: str) -> str:
    """Return what to do if the journal cannot be written: mostly about the disk, for another user about that user."""
    todo = ownership.remedy(path, os.path.dirname(path))
    return f"{todo} Nothing was recorded." if todo else _ROOM


_BACKUP = "move it away with its `-wal`, `-shm` and `-journal`, and restore a backup"
"""SQLite would apply the files beside the old journal to the backup."""


def _restore(path: str) -> str:
    return (
        f"Nothing runs until it is restored: {_BACKUP}. To start with an empty one instead, with every mirror due and"
        f" none paused or disabled, run `{sqlite_database.removal(path, _marks(path))}`."
    )


def _fill(path: str) -> None:
    """Write an empty journal."""
    connection = sqlite_database.connect(path, "mode=rwc")
    try:
        # Before the first table: SQLite changes it later only with VACUUM.
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
        _migrate(connection, _keep_nothing)
    finally:
        connection.close()


@contextmanager
def copied(path: str) -> Iterator[sqlite3.Connection]:
    """Open a copy of the journal in memory, with this version's tables; empty on a new machine.

    The journal itself is only read, also by a user who may not write it. SkipjackError if it cannot be read, is
    damaged, or is not the one that was here before.
    """
    from runner.journal import readonly_copy  # runs and ticks do not need it

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
    """Return whether this machine never had a journal; SkipjackError if its journal is lost or cannot be reached."""
    try:
        fault = _fault(path)
    except OSError as error:
        todo = ownership.remedy(path, os.path.dirname(path)) or "Check the folder and its owner."
        raise SkipjackError(f"cannot read the journal {path}: {error.strerror}.", todo) from error
    if fault:
        raise SkipjackError(f"cannot use the journal {path}: {fault}.", _restore(path))
    return fault is None


def _prepare(connection: sqlite3.Connection, path: str, keep: "Keep") -> None:
    # In WAL mode only FULL makes each commit survive a power failure.
    connection.execute("PRAGMA synchronous=FULL")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        what = f"cannot use the journal {path}: it was written by a newer version, or by another program."
        raise SkipjackError(what, f"Install that version again, or {_BACKUP}{_such_as(path)}.")
    if version == len(MIGRATIONS):
        _use_wal(connection)
        return
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'identity'").fetchone():
        raise SkipjackError(f"cannot use the file {path}: it is not a journal of Skipjack.", _restore(path))
    _use_wal(connection)
    _migrate(connection, keep)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Put a journal into WAL mode, as after the restore of a backup; does nothing if it is.

    Errors are ignored: without it the journal is as safe, only slower, and the next program tries again. Of two that
    try at once SQLite lets one fail without waiting, and a full disk must not prevent the end of a run.
    """
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")


def _migrate(connection: sqlite3.Connection, keep: "Keep") -> None:
    """Migrate the tables to this version; `keep` is called first, with their version, if that is older."""
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
"""Called with tables of an older version before they are changed."""


def _keep_nothing(_connection: sqlite3.Connection, _version: int) -> None:
    """Keep no backup: the tables are a copy in memory, or empty."""


def _back_up(connection: sqlite3.Connection, version: int) -> None:
    from runner.journal import migration_backup  # only the first program after an upgrade needs it

    migration_backup.make(connection, version)


def _such_as(path: str) -> str:
    """Return text that names the newest backup of a migration that this release can read, if there is one."""
    from runner.journal import migration_backup

    found = migration_backup.newest(path, len(MIGRATIONS))
    return f", such as `{found}`" if found else ""


def hold_back(connection: sqlite3.Connection) -> None:
    """Reserve disk space for the end of a run, which must be recorded even on a full disk; best effort."""
    path = _held_back(connection)
    if os.path.exists(path):
        return
    from schemas.regular_files import regular  # ticks do not need it

    aside = f"{path}.new"
    with suppress(OSError):
        try:
            with open(aside, "wb", opener=regular) as file:
                file.write(os.urandom(HELD_BACK))  # random, so that no file system can compress it
            os.replace(aside, path)
        except OSError:
            os.unlink(aside)


def with_room(connection: sqlite3.Connection, change: Callable[[], T]) -> T:
    """Make a change as one transaction; if the disk is full, free the reserved space and try again."""
    try:
        with transaction(connection):
            return change()
    except sqlite3.OperationalError as error:
        try:
            os.unlink(_held_back(connection))
        except OSError:  # the disk may be full, and needs this space
            raise error from None  # there is none left
    with transaction(connection):
        return change()


def _held_back(connection: sqlite3.Connection) -> str:
    return sqlite_database.path_of(connection) + "-reserve"


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Make the changes in the block one durable transaction; within another one they are part of that."""
    part_of_another = bool(connection.in_transaction)
    if part_of_another:
        yield
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    # Also for KeyboardInterrupt: other writers wait for as long as a transaction is open.
    except BaseException:
        if connection.in_transaction:  # on a full disk SQLite rolls back by itself
            connection.execute("ROLLBACK")
        raise


@contextmanager
def if_there_is_room(connection: sqlite3.Connection) -> Iterator[None]:
    """Run a transaction that is skipped if the disk is full."""
    with suppress(sqlite3.OperationalError), transaction(connection):
        yield


@contextmanager
def or_failed(what: str) -> Iterator[None]:
    """Turn a failure of the disk or a lock timeout into a SkipjackError that starts with `what`."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise SkipjackError(f"{what}: {error}.", _ROOM) from error


def marks(values: frozenset[str]) -> str:
    """Return a list of placeholders for SQL, one for each value."""
    return ", ".join("?" * len(values))
