"""The manager's database: opened, brought up to date, and used in transactions of which each is explicit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, exc, insert, inspect, select, update

from schemas.errors import SkipjackError
from sitegen.storage import tables
from sitegen.storage.dialects import Dialect


class StoreError(SkipjackError):
    """The database cannot be used now; nothing of the transaction was kept.

    `reason` is the database's own word, `public` what everybody may be told of it.
    """

    reason = ""
    public = ""


class Database:
    """Connections to one database. Every method raises StoreError when it cannot be used. For any thread."""

    def __init__(self, dialect: Dialect) -> None:
        self.place = dialect.place
        self.commits = 0
        self._dialect = dialect
        self._engine = dialect.engine()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def break_off(self) -> None:
        """End what is under way in other threads and might hang; nothing can be asked any more. Close it afterwards."""
        self._dialect.break_off()

    def close(self) -> None:
        """Close every connection; the last process to do so leaves one tidy file where there is one."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction that sees one moment."""
        with self._explained(), self._connect(writing=False) as tx, tx.begin():
            yield tx

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that is alone in writing."""
        with self._explained(), self._connect(writing=True) as tx, tx.begin():
            yield tx
        self.commits += 1

    def bring_up_to_date(self, before_making: Callable[[], None] = lambda: None) -> None:
        """Make the tables, or those of an older release today's; of several managers that start, one does it.

        `before_making` is called when there are none, and raises StoreError where there should be some.
        """
        with self.writing() as tx:
            if not inspect(tx).has_table("meta"):
                before_making()
            _bring_up_to_date(tx, self.place)

    def _connect(self, *, writing: bool) -> Connection:
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
        except UnicodeDecodeError as error:  # SQLite's own message names what is damaged by its damaged name
            raise self._unusable("names in it are damaged") from error

    def _unusable(self, reason: str) -> StoreError:
        error = StoreError(f"The database {self.place} cannot be used: {reason}.", self._dialect.remedy)
        error.reason = reason
        return error


def number(tx: Connection, name: str) -> int:
    """A number in the table `meta`; StoreError when it is lost or damaged."""
    return counted(tx.execute(select(tables.meta.c.value).where(tables.meta.c.name == name)).scalar(), name)


def counted(value: Any, name: str) -> int:
    """What was read of the table `meta`, which has to be a number; StoreError for anything else."""
    if isinstance(value, int):
        return value
    reason = (
        f"`{name}` in its table `meta` is {value!a:.60} and no number" if value is not None else f"`{name}` is lost"
    )
    error = StoreError(f"The database is damaged: {reason}.", "Stop the manager and put a backup in its place.")
    error.reason = error.public = reason
    raise error


def _bring_up_to_date(tx: Connection, place: str) -> None:
    if not inspect(tx).has_table("meta"):
        tables.metadata.create_all(tx)
        first = [{"name": "schema_version", "value": tables.VERSION}, {"name": "changes", "value": 0}]
        tx.execute(insert(tables.meta), first)
        return
    version, _changes = number(tx, "schema_version"), number(tx, "changes")
    if version > tables.VERSION:
        raise StoreError(
            f"The database {place} has version {version}, written by a newer Skipjack; this one knows "
            f"{tables.VERSION} at most.",
            "Install the newer release again, or put back the backup that you took before.",
        )
    for statement in (line for step in tables.MIGRATIONS[version - 1 :] for line in step):
        tx.exec_driver_sql(statement)
    if version < tables.VERSION:
        tx.execute(update(tables.meta).where(tables.meta.c.name == "schema_version").values(value=tables.VERSION))
