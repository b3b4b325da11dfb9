"""Is the journal damaged? Called only after a value could not be read.

SQLite has no checksums for the values in its pages, so its own check can miss a changed byte.
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterator

from runner.journal import readonly_copy
from schemas.report import decode_probe, decode_status
from schemas.states import DISABLED, PAUSED, TO_TUNASYNC

_KINDS = {"INTEGER": ("integer",), "REAL": ("real", "integer"), "TEXT": ("text",)}
"""The types of columns with the types of values that they can have."""

_EARLIEST, _LATEST = -1e10, 1e11
"""The limits of valid times in seconds since 1970 UTC; `datetime` can represent all between them."""

_COUNTS = ("attempts", "failures", "unreached")
"""Columns with counts, which must not be negative: delays are computed from them."""


def examine(path: str) -> str | None:
    """Return the first invalid thing in the journal as text; None if all of it can be read."""
    try:
        with contextlib.closing(readonly_copy.connected(path)) as connection:
            connection.row_factory = sqlite3.Row
            return next(_faults(connection), None)
    except (sqlite3.Error, RecursionError) as error:
        return str(error)
    except UnicodeDecodeError:  # from SQLite's own message, which contains a damaged name
        return "names in it are damaged"


def _faults(connection: sqlite3.Connection) -> Iterator[str]:
    # It does not compare indexes with tables, as integrity_check does, and is faster for that.
    for (line,) in connection.execute("PRAGMA quick_check(1)"):
        if line != "ok":
            yield line
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    for table in (name for name in tables if not name.startswith("sqlite_")):
        yield from _mistyped(connection, table)
    yield from _unknown_words(connection)
    yield from _unreadable(connection)


def _mistyped(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    for _number, column, kind, required, _default, _key in connection.execute(f"PRAGMA table_info({table})"):
        allowed = (*_KINDS.get(kind, ("null",)), *(() if required else ("null",)))
        words = ", ".join(f"'{word}'" for word in allowed)
        wrong = f"typeof({column}) NOT IN ({words})"
        if kind == "REAL":
            wrong += f" OR {column} NOT BETWEEN {_EARLIEST} AND {_LATEST}"
        if column in _COUNTS:
            wrong += f" OR {column} < 0"
        if connection.execute(f"SELECT 1 FROM {table} WHERE {wrong} LIMIT 1").fetchone():  # noqa: S608 - own names
            yield f"a value of `{column}` in `{table}` is invalid"


def _unknown_words(connection: sqlite3.Connection) -> Iterator[str]:
    known = {"mirror": TO_TUNASYNC.keys(), "run": TO_TUNASYNC.keys()}
    for table, words in known.items():
        for (word,) in connection.execute(f"SELECT DISTINCT status FROM {table}"):  # noqa: S608 - own names
            if word not in words:
                yield f"`{table}` has the status {word!r}"
    for (word,) in connection.execute("SELECT DISTINCT kind FROM override"):
        if word not in (PAUSED, DISABLED):
            yield f"`override` has the kind {word!r}"


def _unreadable(connection: sqlite3.Connection) -> Iterator[str]:
    readers = (
        ("mirror", "probe", decode_probe),
        ("outbox", "content", lambda plain: [decode_status(each) for each in plain["statuses"]] + [*plain["runs"]]),
        ("command", "mirrors", "".join),
    )
    for table, column, read in readers:
        for (text,) in connection.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"):  # noqa: S608
            try:
                read(json.loads(text))
            except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
                yield f"`{column}` of `{table}` cannot be read: {type(error).__name__}: {error}"
