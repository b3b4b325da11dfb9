"""Opens and migrates the manager's database, and runs explicit transactions on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy import Connection, exc, insert, inspect, select, update

from schemas.errors import SkipjackError
from sitegen.storage import tables
from sitegen.storage.dialects import Dialect


class StoreError(SkipjackError):
    """The database cannot be used now; the transaction was rolled back.

    `reason` is the database's own message, `public` a message without paths and addresses that clients may see.
    """

    reason = ""
    public = ""


class Database:
    """Connections to one database. Thread-safe. Every method raises StoreError if the database cannot be used."""

    def __init__(self, dialect: Dialect) -> None:
        self.place = dialect.place
        self.commits = 0
        self._dialect = dialect
        self._engine = dialect.engine()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def break_off(self) -> None:
        """Abort operations in other threads that might hang. Afterwards only `close` may be called."""
        self._dialect.break_off()

    def close(self) -> None:
        """Close every connection. With SQLite, the last process to close removes the `-wal` and `-shm` files."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Begin a read transaction on a consistent snapshot."""
        with self._explained(), self._connect(writing=False) as tx, tx.begin():
            yield tx

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Begin a write transaction; only one at a time exists."""
        with self._explained(), self._connect(writing=True) as tx, tx.begin():
            yield tx
        self.commits += 1

    def bring_up_to_date(self, before_making: Callable[[], None] = lambda: None) -> None:
        """Create the tables, or migrate those of an older release. If several managers start at once, one does it.

        `before_making` is called if there are no tables, and raises StoreError if there should be some.
        """
        with self.writing() as tx:
            if not inspect(tx).has_table("meta"):
                before_making()
            _bring_up_to_date(tx, self.place)

    def _connect(self, *, writing: bool) -> Connection:
        # Otherwise open connections would still write to a deleted file.
        if self._dialect.has_moved():
            self._engine.dispose()
        return self._engine.connect().execution_options(**self._dialect.options(writing))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except exc.TimeoutError as error:
            raise self._unusable("all connections are busy") from error
        except exc.DBAPIError as error:
            if not self._dialect.is_outage(error):
                raise
            raise self._unusable(" ".join(str(error.orig).split())) from error
        except UnicodeDecodeError as error:  # SQLite's own message contains the damaged name
            raise self._unusable("names in its schema are damaged") from error

    def _unusable(self, reason: str) -> StoreError:
        error = StoreError(f"cannot use the database `{self.place}`: {reason}.", self._dialect.remedy)
        error.reason = reason
        return error


def number(tx: Connection, name: str) -> int:
    """Return a number of the table `meta`; StoreError if it is missing or damaged."""
    return counted(tx.execute(select(tables.meta.c.value).where(tables.meta.c.name == name)).scalar(), name)


def counted(value: Any, name: str) -> int:
    """Return a value of the table `meta`; StoreError if it is not an integer."""
    # SQLite stores values of any type in any column.
    if isinstance(value, int):
        return value
    reason = (
        f"`{name}` in its table `meta` is {value!a:.60}, not a number" if value is not None else f"`{name}` is missing"
    )
    error = StoreError(f"the database is damaged: {reason}.", "Stop the manager and restore a backup.")
    error.reason = error.public = reason
    raise error


def _bring_up_to_date(tx: Connection, place: str) -> None:
    if not inspect(tx).has_table("meta"):
        tables.metadata.create_all(tx)
        first = [{"name": "schema_version", "value": tables.VERSION}, {"name": "changes", "value": 0}]
        tx.execute(insert(tables.meta), first)
        return
    # `changes` as well, so that a damaged one is found at the start and not by the first report.
    version, _changes = number(tx, "schema_version"), number(tx, "changes")
    if version > tables.VERSION:
        raise StoreError(
            f"the database `{place}` has version {version}, written by a newer Skipjack. This release supports "
            f"versions up to {tables.VERSION}.",
            "Install the newer release again, or restore the backup from before the upgrade.",
        )
    # In the caller's transaction: both databases roll back DDL, so a failed migration leaves the previous version.
    for statement in (line for step in tables.MIGRATIONS[version - 1 :] for line in step):
        tx.exec_driver_sql(statement)
    if version < tables.VERSION:
        tx.execute(update(tables.meta).where(tables.meta.c.name == "schema_version").values(value=tables.VERSION))
