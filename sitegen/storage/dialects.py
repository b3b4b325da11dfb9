"""The differences between SQLite and PostgreSQL. All other SQL is the same for both.

SQLite uses WAL mode with `synchronous=FULL`: commits survive a power failure, and readers never wait for the writer.
Its write transactions begin IMMEDIATE, because a deferred one that becomes a writer fails at once if another writer is
active, whatever the time-out. On PostgreSQL they take one advisory lock first, so that writers are serialized there as
well, from any number of managers. Readers see a consistent snapshot.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import (
    JSON,
    Connection,
    Engine,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    create_engine,
    event,
    exc,
    func,
    select,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from schemas.errors import SkipjackError
from schemas.records import DatabaseAddress
from schemas.secrets import read_secret
from sitegen.storage import readonly_sqlite

LOCK_SECONDS = 30
"""Seconds for which a transaction waits for other writers before it fails."""
# `Skip` in ASCII and a number, because other programs in the same database may use advisory locks too.
WRITERS_LOCK = 0x536B_6970_0001
PUBLISHERS_LOCK = 0x536B_6970_0002
"""Keys of Skipjack's advisory locks in PostgreSQL."""

_NETWORK: Mapping[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "skipjack-manager",
}
"""Network settings with which a lost server is noticed within about ten seconds. Only `tcp_user_timeout` is in ms."""

_KEPT_COLUMNS = {"first_seen", "replaced"}
"""Columns that an upsert does not overwrite."""


class Dialect(Protocol):
    """One kind of database: how to open it, and the remedy when it fails."""

    place: str
    remedy: str

    def engine(self) -> Engine:
        """Return an engine; nothing is opened yet."""

    def options(self, writing: bool) -> Mapping[str, Any]:
        """Return the options of a connection before a transaction."""

    def begin(self, connection: Connection) -> None:
        """Begin a transaction."""

    def is_outage(self, error: exc.DBAPIError) -> bool:
        """Whether the database has failed, as opposed to a bug in Skipjack's SQL."""

    def has_moved(self) -> bool:
        """Whether open connections lead to another database than new ones would."""

    def break_off(self) -> None:
        """Abort operations in all threads that might never end by themselves, and allow no new ones."""


class Sqlite:
    """An SQLite file, which must exist. With the address `reading` it is read without any change to it.

    An invalid byte in a text does not make its row unreadable: it becomes U+FFFD, or with `reading` a lone surrogate.
    """

    remedy = (
        "Check the disk and the file's owner. If the file is damaged, move it away with every `manager.db-*` and "
        "restore a backup: workers send reports again that it lacks."
    )

    def __init__(self, path: Path, reading: str = "") -> None:
        self.place = str(path)
        self._reading = reading
        self._opened: tuple[int, int] | None = None
        self._address = reading or f"{path.absolute().as_uri()}?mode=rw"
        self._errors = "surrogateescape" if reading else "replace"

    def engine(self) -> Engine:
        """Return an engine whose transactions begin explicitly."""
        engine = create_engine(f"sqlite:///{self._address}&uri=true", connect_args={"timeout": LOCK_SECONDS})
        event.listen(engine, "connect", self._set_up)
        event.listen(engine, "begin", self.begin)
        return engine

    def _set_up(self, connection: Any, _entry: ConnectionPoolEntry) -> None:
        self._opened = self._file()
        # `begin` begins transactions: Python's driver would begin deferred ones.
        connection.isolation_level = None
        connection.text_factory = partial(str, encoding="utf-8", errors=self._errors)
        connection.execute(f"PRAGMA busy_timeout={LOCK_SECONDS * 1000}")
        if not self._reading:
            _use_wal(connection)
            connection.execute("PRAGMA synchronous=FULL")

    def _file(self) -> tuple[int, int] | None:
        """Return device and inode of the file, None if there is none."""
        try:
            found = Path(self.place).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def has_moved(self) -> bool:
        """Whether the name leads to another file: a disk was mounted again, or a backup restored."""
        return self._opened is not None and self._file() not in (None, self._opened)

    def options(self, writing: bool) -> Mapping[str, Any]:
        """Return the option that `begin` reads."""
        return {"writing": writing}

    def begin(self, connection: Connection) -> None:
        """Begin a write transaction immediately, or a read transaction."""
        writing = connection.get_execution_options().get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    def is_outage(self, error: exc.DBAPIError) -> bool:
        """Whether the file or disk has failed: such errors have exactly these two types, not subclasses."""
        return type(error) in (exc.OperationalError, exc.DatabaseError)

    def break_off(self) -> None:
        """Do nothing: no operation waits for a lock for longer than LOCK_SECONDS."""


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch a file to WAL mode if it is not in it, such as a restored backup.

    If two programs try at once, SQLite fails one of them without waiting; the other one has done it.
    """
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise


class Postgresql:
    """A PostgreSQL database. The password is read for each connection, so it can change while the manager runs."""

    remedy = (
        "Check the server and `database` in the settings. Nothing is lost: workers send reports again that were not "
        "acknowledged."
    )

    def __init__(self, address: DatabaseAddress) -> None:
        try:
            self._url = make_url(address.url).set(drivername="postgresql+psycopg")
        except ValueError as error:
            raise _wrong_address(str(error)) from error
        self._password = address.password
        if address.password and address.password.credential:
            self.remedy += " A changed credential takes effect with `skipjack install --manager`."
        self._ending = threading.Event()
        self.place = _place(self._url)

    def engine(self) -> Engine:
        """Return an engine that tests connections before use, so that a restarted server causes no errors.

        SkipjackError without the driver, or for an unknown option in the address.
        """
        try:
            engine = create_engine(self._url, connect_args=self._arguments(), pool_pre_ping=True, pool_timeout=5)
        except ImportError as error:
            raise SkipjackError(
                f"cannot load the PostgreSQL driver: {error}.",
                "Install it in Skipjack's environment: `pip install 'psycopg[binary]'`, as docs/manager.md shows.",
            ) from error
        event.listen(engine, "do_connect", self._open)
        event.listen(engine, "connect", _set_up_postgresql)
        event.listen(engine, "begin", self.begin)
        return engine

    def _arguments(self) -> dict[str, Any]:
        # Imported here, because a manager with SQLite needs no driver of PostgreSQL.
        from psycopg import ProgrammingError, conninfo

        wanted: dict[str, Any] = dict(self._url.query)
        try:
            # A misspelled option is an error in the settings, not one of the first connection.
            conninfo.make_conninfo(**wanted)
        except ProgrammingError as error:
            raise _wrong_address(str(error)) from error
        # Twice as long for a statement, because its time includes the wait for a lock.
        limits = f"-c lock_timeout={LOCK_SECONDS}s -c statement_timeout={2 * LOCK_SECONDS}s"
        # The address comes last, so that an admin can change each of these.
        return {**_NETWORK, "options": limits} | wanted

    def _open(self, _dialect: Any, _record: Any, _arguments: Any, named: dict[str, Any]) -> Any:
        from sitegen.storage.pg_watchdog import Watched

        secret = {} if self._password is None else {"password": read_secret(self._password)}
        return Watched.opened(self._ending, **named, **secret)

    def options(self, writing: bool) -> Mapping[str, Any]:
        """Readers see a consistent snapshot; writers see what was committed before they got the lock."""
        level = "READ COMMITTED" if writing else "REPEATABLE READ"
        return {"isolation_level": level, "postgresql_readonly": not writing, "writing": writing}

    def begin(self, connection: Connection) -> None:
        """Wait for other writers. A frozen writer loses its connection, so that it does not block others for long."""
        if connection.get_execution_options().get("writing", False):
            connection.exec_driver_sql(
                f"SELECT pg_advisory_xact_lock({WRITERS_LOCK}), "
                f"set_config('idle_in_transaction_session_timeout', '{LOCK_SECONDS}s', true)"
            )

    def is_outage(self, error: exc.DBAPIError) -> bool:
        """Whether the server failed: a lost connection, a full disk, read-only mode, or missing privileges (42501)."""
        if isinstance(error, exc.OperationalError | exc.InternalError | exc.InterfaceError):
            return True
        return getattr(error.orig, "sqlstate", None) == "42501"

    def has_moved(self) -> bool:
        """Return False: a server that moves ends its connections."""
        return False

    def break_off(self) -> None:
        """Break every connection that waits for an answer, and open no new ones."""
        self._ending.set()


def _place(url: URL) -> str:
    """Return an address to show, without options, since these can contain the password of a key."""
    shown = {key: value for key, value in url.query.items() if key in ("host", "port")}
    return url.set(drivername="postgresql", password=None, query=shown).render_as_string()


def _wrong_address(reason: str) -> SkipjackError:
    return SkipjackError(
        f"invalid `database.url` in the settings: {reason}.",
        "Write for example `postgresql://skipjack@db.example.org:5432/skipjack?sslmode=verify-full`.",
    )


def _set_up_postgresql(connection: Any, _entry: ConnectionPoolEntry) -> None:
    """Turn on `synchronous_commit` if the server has it off, and replace NUL in text, which PostgreSQL cannot store."""
    from psycopg.types import string

    class _Text(string.StrDumper):
        def dump(self, obj: Any) -> Any:
            return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))

    connection.adapters.register_dumper(str, _Text)
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )
    # Without it, the rollback when the connection returns to the pool would undo the setting.
    connection.commit()


def open_dialect(state_dir: str, address: DatabaseAddress | None) -> Dialect:
    """Return the database that the settings name."""
    if address is not None:
        return Postgresql(address)
    return Sqlite(database_file(state_dir))


@contextmanager
def open_reading(state_dir: str, address: DatabaseAddress | None) -> Iterator[Dialect]:
    """Return the same database, to be read without any change to it."""
    file = database_file(state_dir)
    if address is not None:
        yield Postgresql(address)
    else:
        with readonly_sqlite.readable(file) as reading:
            yield Sqlite(file, reading)


def database_file(state_dir: str) -> Path:
    """Return the path of SQLite's file."""
    return Path(state_dir) / "manager.db"


def upsert(tx: Connection, table: Table, columns: tuple[str, ...], new: Sequence[Sequence[Any]]) -> None:
    """Insert rows, each as values of these columns, or update those with the same keys."""
    if new:
        tx.exec_driver_sql(_upsert_text(tx.dialect.name, table, columns), [tuple(row) for row in new])


@cache
def _upsert_text(dialect: str, table: Table, columns: tuple[str, ...]) -> str:
    """Return SQL with positional parameters for the driver: SQLAlchemy's compiling takes longer than the write."""
    mark = "?" if dialect == "sqlite" else "%s"
    keys = [column.name for column in table.primary_key.columns]
    changed = [name for name in columns if name not in keys and name not in _KEPT_COLUMNS]
    action = ", ".join(f'"{name}" = excluded."{name}"' for name in changed)
    return (
        f"INSERT INTO {table.name} ({_quoted(columns)}) VALUES ({', '.join([mark] * len(columns))}) "  # noqa: S608
        f"ON CONFLICT ({_quoted(keys)}) DO UPDATE SET {action}"
    )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def select_of(
    tx: Connection, table: Table, columns: tuple[str, ...], key: str, names: Set[str]
) -> Sequence[Sequence[Any]]:
    """Return the rows whose key is one of these names. Driver SQL for speed, like `upsert`."""
    return tx.exec_driver_sql(_select_text(tx.dialect.name, table, columns, key), (json.dumps(list(names)),)).all()


@cache
def _select_text(dialect: str, table: Table, columns: tuple[str, ...], key: str) -> str:
    given = "json_each(?)" if dialect == "sqlite" else "json_array_elements_text(CAST(%s AS JSON)) AS given(value)"
    return f'SELECT {_quoted(columns)} FROM {table.name} WHERE "{key}" IN (SELECT value FROM {given})'  # noqa: S608


def named(names: Set[str]) -> dict[str, str]:
    """Return the parameter for `names`."""
    return {"names": json.dumps(list(names))}


def names(dialect: str) -> Select[Any]:
    """Select the names in the parameter `names`, a JSON list, so that one statement serves any number of them."""
    given = bindparam("names", type_=Text())
    if dialect == "sqlite":
        return select(func.json_each(given).table_valued("value").c.value)
    return select(func.json_array_elements_text(cast(given, JSON)).column_valued("given"))
