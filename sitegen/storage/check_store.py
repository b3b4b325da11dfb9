"""Checks the invariants of the store, with a function for each kind of rule. Each problem is a line of text."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import Connection, Table, and_, exists, func, inspect, not_, select

from schemas.states import TO_TUNASYNC
from sitegen.storage import audit_store, codec, command_store, policy_store, tables, tunasync_rows
from sitegen.storage.corruption import UNREADABLE
from sitegen.storage.database import Database, number
from sitegen.storage.tables import catalogue, command_numbers, commands, journals, meta, mirror_state, runs, workers

_JSON: tuple[tuple[Table, str, Callable[[Any], Any]], ...] = (
    (workers, "problems", codec.decode_problems),
    (workers, "progress", codec.decode_progress),
    (mirror_state, "probe", codec.decode_probe),
    (mirror_state, "override", codec.decode_override),
    (catalogue, "site", codec.decode_site),
    (catalogue, "workers", codec.decode_workers),
    (catalogue, "mirrors", codec.decode_mirrors),
    (catalogue, "problems", json.loads),
    (catalogue, "policies", codec.decode_policies),
    (tables.policies, "document", policy_store.decode),
    (commands, "mirrors", command_store.decode_mirrors),
    (tables.audit, "details", audit_store.decode_details),
    (tables.tunasync_jobs, "document", tunasync_rows.decode),
)
"""Columns with JSON, and the functions that decode them."""


def problems(database: Database) -> Iterator[str]:
    """Yield every problem. StoreError if the database cannot be read any further."""
    for problem in _problems(database):
        # A damaged text was read with lone surrogates, which no output can encode.
        yield problem.encode(errors="backslashreplace").decode()


def _problems(database: Database) -> Iterator[str]:
    with database.reading() as tx:
        if tx.dialect.name == "sqlite":
            yield from _integrity(tx)
        # Each step requires the previous one: the rules query tables and columns that must exist.
        wrong = list(_version(tx))
        yield from wrong
        if not wrong:
            wrong = list(_columns(tx))
            yield from wrong
        if not wrong:
            for rule in (_numbers, _references, _statuses, _texts, _json):
                yield from rule(tx)


def _integrity(tx: Connection) -> Iterator[str]:
    for (line,) in tx.exec_driver_sql("PRAGMA integrity_check"):
        if line != "ok":
            yield f"file: {line}"


def _version(tx: Connection) -> Iterator[str]:
    if not inspect(tx).has_table("meta"):
        yield "meta: the table is missing, so this is not a Skipjack database"
        return
    names = set(tx.execute(select(meta.c.name)).scalars())
    for name in sorted({"schema_version", "changes"} - names):
        yield f"meta {name}: the row is missing"
    version = number(tx, "schema_version") if "schema_version" in names else tables.VERSION
    if version != tables.VERSION:
        yield f"meta schema_version: it is {version}, but this release needs {tables.VERSION}: nothing else was checked"


def _columns(tx: Connection) -> Iterator[str]:
    inspector = inspect(tx)
    there = set(inspector.get_table_names())
    for name, table in tables.metadata.tables.items():
        if name not in there:
            yield f"{name}: the table is missing"
            continue
        columns = {column["name"] for column in inspector.get_columns(name)}
        missing = [column.name for column in table.columns if column.name not in columns]
        yield from (f"{name}: the column {column} is missing" for column in missing)


def _numbers(tx: Connection) -> Iterator[str]:
    changes = number(tx, "changes")
    for table, column in ((mirror_state, "changed"), (workers, "replaced"), (catalogue, "changed")):
        for key in _keys(tx, table, table.c[column] > changes):
            yield f"{table.name} {key}: `{column}` is higher than the number of changes, {changes}"
    for key in _keys(tx, journals, journals.c.acknowledged < 0):
        yield f"journals {key}: the acknowledged number is below 0"
    for key in _keys(tx, runs, runs.c.id < 0):
        yield f"runs {key}: its number is below 0"
    higher = exists().where(
        command_numbers.c.worker == commands.c.worker, command_numbers.c.newest >= commands.c.number
    )
    for key in _keys(tx, commands, not_(higher)):
        yield f"commands {key}: its number was never issued to this worker"


def _references(tx: Connection) -> Iterator[str]:
    """Check references between tables. Go workers of tunasync have no journals."""
    foreign = select(tables.tunasync_workers.c.name)
    journal = exists().where(journals.c.worker == runs.c.worker, journals.c.journal == runs.c.journal)
    for key in _keys(tx, runs, and_(not_(journal), runs.c.worker.not_in(foreign))):
        yield f"runs {key}: its journal has no acknowledged reports"
    current = exists().where(journals.c.worker == workers.c.name, journals.c.journal == workers.c.journal)
    for key in _keys(tx, workers, and_(not_(current), workers.c.name.not_in(foreign))):
        yield f"workers {key}: its journal is unknown"
    run = exists().where(
        runs.c.worker == mirror_state.c.worker,
        runs.c.journal == mirror_state.c.journal,
        runs.c.id == mirror_state.c.run_id,
    )
    for key in _keys(tx, mirror_state, and_(mirror_state.c.run_id.is_not(None), not_(run))):
        yield f"mirror_state {key}: its last run is missing"
    owner = exists().where(workers.c.name == mirror_state.c.worker)
    for key in _keys(tx, mirror_state, not_(owner)):
        yield f"mirror_state {key}: its worker is missing"
    if tx.execute(select(func.count()).select_from(catalogue)).scalar_one() > 1:
        yield "catalogue: there is more than one row"


def _statuses(tx: Connection) -> Iterator[str]:
    for table in (mirror_state, runs):
        for key in _keys(tx, table, table.c.status.not_in(sorted(TO_TUNASYNC))):
            yield f"{table.name} {key}: its status is unknown"


def _texts(tx: Connection) -> Iterator[str]:
    for table in tables.metadata.sorted_tables:
        keys = [column.name for column in table.primary_key]
        for row in tx.execute(select(table)).mappings():
            for column, value in row.items():
                if isinstance(value, str) and not _is_text(value):
                    yield f"{table.name} {_name(row[key] for key in keys)}: `{column}` is not valid UTF-8"


def _is_text(value: str) -> bool:
    """Whether a value was read without invalid bytes, which `surrogateescape` turns into lone surrogates."""
    return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)


def _json(tx: Connection) -> Iterator[str]:
    for table, column, read in _JSON:
        for *key, text in tx.execute(select(*table.primary_key.columns, table.c[column])):
            try:
                read(text)
            except UNREADABLE as error:
                yield f"{table.name} {_name(key)}: `{column}` cannot be read: {type(error).__name__}: {error}"


def _keys(tx: Connection, table: Table, condition: Any) -> Iterator[str]:
    for row in tx.execute(select(*table.primary_key.columns).where(condition)):
        yield _name(row)


def _name(key: Any) -> str:
    return "/".join(map(str, key))
