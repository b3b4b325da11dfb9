"""Creates the database, and writes reports and the configuration to it; `facts_reader` reads them for pages."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

from sqlalchemy import Connection, delete, select, update

from schemas import sqlite_database
from schemas.records import DatabaseAddress
from sitegen.messages.model import (
    TUNASYNC,
    AcceptedDeliveries,
    DeclaredConfig,
    Delivery,
    Facts,
    Note,
)
from sitegen.storage import (
    accept,
    clock_store,
    codec,
    dialects,
    facts_reader,
    lost_database,
    rows,
    tables,
)
from sitegen.storage.database import Database, StoreError, counted, number
from sitegen.storage.dialects import select_of, upsert
from sitegen.storage.facts_reader import FactsReader

__all__ = ["Store", "StoreError"]

P = ParamSpec("P")
T = TypeVar("T")

_COUNT_CHANGE = "UPDATE meta SET value = value + 1 WHERE name = 'changes' RETURNING value"


class Store:
    """The manager's database, created and migrated if needed: SQLite's file in the state directory, or PostgreSQL.

    Files in `site_dir` can show that a missing SQLite file was in use. Thread-safe. Every method raises StoreError if
    the database cannot be read or written.
    """

    def __init__(self, state_dir: str, address: DatabaseAddress | None = None, site_dir: str = "") -> None:
        if address is None:
            _make(state_dir, site_dir)
        self.database = Database(dialects.open_dialect(state_dir, address))
        try:
            mark = _mark(state_dir, address, self.database, site_dir)
            # The mark comes last: one of a database that could not be created would look like lost state.
            self.database.bring_up_to_date(mark.require_new)
            mark.leave()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection. With SQLite, the last process to close removes the `-wal` and `-shm` files."""
        self.database.close()

    @property
    def commits(self) -> int:
        """Number of write transactions since it was opened."""
        return self.database.commits

    def apply(self, deliveries: Sequence[Delivery]) -> AcceptedDeliveries:
        """Store a batch of envelopes in one transaction. The answers are valid once this returns."""
        with self.database.writing() as tx:
            return apply_in(tx, deliveries)

    def write(self, work: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """Call `work` in a write transaction of its own."""
        with self.database.writing() as tx:
            return work(tx, *arguments, **named)

    def changes(self) -> int:
        """Return the change number, which rises with every write that changes a page."""
        with self.database.reading() as tx:
            return number(tx, "changes")

    def revision(self) -> str | None:
        """Return the revision of the configuration in use, None before the first."""
        with self.database.reading() as tx:
            found: str | None = tx.execute(select(tables.catalogue.c.revision)).scalar()
            return found

    def keep_catalogue(self, declared: DeclaredConfig, now: float) -> None:
        """Replace the configuration by one that was accepted at `now` (Unix seconds)."""
        row = {
            "id": 1,
            "revision": declared.revision,
            "committed_at": declared.committed_at,
            "site": codec.encode_site(declared.site),
            "workers": codec.encode_workers(declared.workers),
            "mirrors": codec.encode_mirrors(declared.mirrors),
            "problems": json.dumps(declared.problems),
            "policies": codec.encode_policies(declared.policies),
        }
        with self.database.writing() as tx:
            row["changed"] = count_change(tx)
            upsert(tx, tables.catalogue, tuple(row), [tuple(row.values())])
            upsert(tx, tables.revisions, ("commit", "accepted_at"), [(declared.revision, now)])
            # A revision in use was fetched and accepted, so both notes are out of date.
            tx.execute(delete(tables.refusal))

    def keep_refused(self, note: Note | None) -> None:
        """Store why the newest fetched revision is not in use; None deletes the note.

        Both delete the note on an unreachable repository, because this revision could be fetched.
        """
        with self.database.writing() as tx:
            tx.execute(delete(tables.refusal))
            if note:
                upsert(tx, tables.refusal, ("id", *Note._fields), [(tables.REFUSED, *note)])
            count_change(tx)

    def keep_unreachable(self, reason: str, now: float) -> None:
        """Store why the repository cannot be fetched, since `now` (Unix seconds) or the note before."""
        with self.database.writing() as tx:
            # Since when stays, whatever the reason is now: pages show how long the repository is unreachable.
            before = facts_reader.notes(tx).get(tables.UNREACHABLE)
            note = Note(reason, before.since if before else now)
            upsert(tx, tables.refusal, ("id", *Note._fields), [(tables.UNREACHABLE, *note)])
            count_change(tx)

    def notes(self) -> tuple[Note | None, Note | None]:
        """Return why the newest revision was rejected, and why the repository cannot be fetched."""
        with self.database.reading() as tx:
            found = facts_reader.notes(tx)
        return found.get(tables.REFUSED), found.get(tables.UNREACHABLE)

    def declared(self) -> DeclaredConfig | None:
        """Return the configuration in use."""
        with self.database.reading() as tx:
            return facts_reader.declared(tx)

    def facts(self, before: Facts | None = None) -> Facts:
        """Return all facts for pages at one moment; see `FactsReader.facts`."""
        with self.reading() as reader:
            return reader.facts(before)

    @contextmanager
    def reading(self) -> Iterator[FactsReader]:
        """Open a read transaction for several reads at the same moment."""
        with self.database.reading() as tx:
            yield FactsReader(tx)

    @contextmanager
    def transaction(self, *, writing: bool = False) -> Iterator[Connection]:
        """Begin a transaction, for modules of this package with SQL of their own."""
        with self.database.writing() if writing else self.database.reading() as tx:
            yield tx


def _mark(
    state_dir: str, address: DatabaseAddress | None, database: Database, site_dir: str
) -> lost_database.FileMark | lost_database.ServerMark:
    if address is None:
        return lost_database.FileMark(dialects.database_file(state_dir), site_dir)
    return lost_database.ServerMark(state_dir, database.place)


def _make(state_dir: str, site_dir: str) -> None:
    """Create the database's file on a new machine; StoreError if one was in use before and is lost."""
    file = dialects.database_file(state_dir)
    try:
        Path(state_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot create the state directory `{state_dir}`: {error.strerror}.",
            "Create it for the user that runs the manager.",
        ) from error
    lost_database.require_file(file, site_dir)
    try:
        if not file.exists():
            sqlite_database.make(str(file), _fill)
    except OSError as error:
        raise StoreError(
            f"cannot create the database `{file}`: {error.strerror}.",
            "Check the folder, its owner and its free space.",
        ) from error


def _fill(path: str) -> None:
    """Create an empty database. Only its owner may read it, because it contains token digests and the audit log.

    It belongs to the folder's owner, so that root can add the first token before the manager's user starts `serve`.
    """
    # O_EXCL follows no link and opens no existing file, which might belong to another user.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        sqlite_database.give_to_owner(descriptor, path)
    finally:
        os.close(descriptor)
    with Database(dialects.Sqlite(Path(path))) as database:
        database.bring_up_to_date()


def count_change(tx: Connection) -> int:
    """Increment the change number; return the new one."""
    return counted(tx.exec_driver_sql(_COUNT_CHANGE).scalar(), "changes")


def apply_in(tx: Connection, deliveries: Sequence[Delivery]) -> AcceptedDeliveries:
    """Store a batch of envelopes in a transaction that the caller commits."""
    known = _known(tx, deliveries)
    plan = accept.plan(deliveries, known)
    _write_plan(tx, plan, known)
    return AcceptedDeliveries(plan.answers, plan.news)


def _known(tx: Connection, deliveries: Iterable[Delivery]) -> accept.BatchContext:
    workers = {item.envelope.worker for item in deliveries}
    journals = select_of(tx, tables.journals, ("worker", "journal", "acknowledged"), "worker", workers)
    acknowledged = {(row[0], row[1]): row[2] for row in journals}
    # Only a worker with a new journal can have been one of tunasync so far.
    new = {name for name, journal in map(_journal_of, deliveries) if not acknowledged.get((name, journal))}
    # Reports change pages in any case, so only plain heartbeats are compared with the stored condition.
    quiet = {item.envelope.worker for item in deliveries if not item.envelope.reports}
    conditions = select_of(tx, tables.workers, ("name", *accept.Condition._fields), "name", quiet) if quiet else ()
    return accept.BatchContext(
        acknowledged,
        {row[0]: accept.Condition._make(tuple(row)[1:]) for row in conditions},
        frozenset(
            row[0] for row in select_of(tx, tables.workers, ("name", "journal"), "name", new) if row[1] == TUNASYNC
        )
        if new
        else frozenset(),
        clock_store.earlier(tx, deliveries),
    )


def _journal_of(delivery: Delivery) -> accept.JournalKey:
    return delivery.envelope.worker, delivery.envelope.journal


def _write_plan(tx: Connection, plan: accept.BatchPlan, known: accept.BatchContext) -> None:
    moved = [(*key, number) for key, number in plan.acknowledged.items() if number != known.acknowledged.get(key)]
    upsert(tx, tables.journals, ("worker", "journal", "acknowledged"), moved)
    upsert(tx, tables.workers, rows.REPORTED_WORKER, [rows.of_worker(item) for item in plan.envelopes.values()])
    clock_store.write(tx, plan)
    if plan.news:
        _write_states(tx, plan, count_change(tx))
    upsert(tx, tables.runs, rows.REPORTED_RUN, [rows.of_run(*item) for item in plan.runs.items()])


def _write_states(tx: Connection, plan: accept.BatchPlan, change: int) -> None:
    for worker in plan.taken_over:
        tx.execute(delete(tables.tunasync_workers).where(tables.tunasync_workers.c.name == worker))
        tx.execute(delete(tables.tunasync_jobs).where(tables.tunasync_jobs.c.worker == worker))
        tx.execute(delete(tables.tunasync_rejected).where(tables.tunasync_rejected.c.worker == worker))
    for worker in plan.cleared:
        tx.execute(delete(tables.mirror_state).where(tables.mirror_state.c.worker == worker))
        tx.execute(update(tables.workers).where(tables.workers.c.name == worker).values(replaced=change))
    upsert(tx, tables.mirror_state, rows.REPORTED_STATE, [rows.of_state(*item, change) for item in plan.states.items()])
