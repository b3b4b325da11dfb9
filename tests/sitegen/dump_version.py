"""`python -m tests.sitegen.dump_version`: write the dump of the newest released database that a new migration needs.

It is the dump before it with one more migration. Run it when a step was appended to `tables.MIGRATIONS`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from sitegen.storage import tables

FOLDER = Path(__file__).parent


def dump_after(number: int) -> str:
    """Return the dump of a database of version `number`, from the dump of the version before it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript((FOLDER / f"version_{number - 1}.sql").read_text("utf-8"))
        for statement in tables.MIGRATIONS[number - 2]:
            connection.execute(statement)
        connection.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (number,))
        lines = [line for line in connection.iterdump() if not line.startswith('INSERT INTO "workers"')]
        return "".join(f"{line}\n" for line in [*lines[:-1], *_workers(connection), lines[-1]])


def _workers(connection: sqlite3.Connection) -> Iterator[str]:
    """Yield the rows with booleans as such: SQLite dumps them as numbers, which PostgreSQL does not accept."""
    columns = connection.execute("SELECT name, type FROM pragma_table_info('workers') ORDER BY cid").fetchall()
    values = [f"iif({name}, 'TRUE', 'FALSE')" if kind == "BOOLEAN" else f"quote({name})" for name, kind in columns]
    for row in connection.execute(f"SELECT {', '.join(values)} FROM workers"):
        yield f'INSERT INTO "workers" VALUES({",".join(row)});'


if __name__ == "__main__":
    newest = tables.VERSION - 1
    (FOLDER / f"version_{newest}.sql").write_text(dump_after(newest), "utf-8")
