"""Reads the history of runs, page by page."""

import base64
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, and_, literal, or_, select

from schemas.report import Run
from sitegen.messages.envelope import RejectedRequest
from sitegen.storage.store import Store
from sitegen.storage.tables import runs


class EndedRun(NamedTuple):
    """A run that has ended, with its worker and mirror."""

    worker: str
    mirror: str
    run: Run


# Unique, so that a page begins right after the last row of the previous one.
_ORDER = (runs.c.ended_at.desc(), runs.c.worker, runs.c.journal, runs.c.id.desc())


def page(store: Store, worker: str, names: Sequence[str], cursor: str, limit: int) -> tuple[list[EndedRun], str | None]:
    """Return ended runs, newest first, and the cursor of the next page.

    `worker` and the `names` of a mirror restrict them if not empty.
    """
    which: list[ColumnElement[bool]] = [runs.c.ended_at.is_not(None)]
    if worker:
        which.append(runs.c.worker == worker)
    if names:
        which.append(runs.c.mirror.in_(names))
    if cursor:
        which.append(_after(cursor))
    columns = (runs.c.worker, runs.c.mirror, runs.c.journal, *(runs.c[name] for name in Run._fields))
    with store.transaction() as tx:
        # One more than is shown tells whether there is a next page.
        rows = tx.execute(select(*columns).where(*which).order_by(*_ORDER).limit(limit + 1)).all()
    shown = rows[:limit]
    return [EndedRun(row[0], row[1], Run._make(row[3:])) for row in shown], _cursor(shown[-1]) if rows[limit:] else None


def last_ended(store: Store, worker: str, names: Sequence[str]) -> Run | None:
    """Return the last ended run of a mirror on a worker, without the log. `names` are all names of the mirror."""
    columns = [literal("").label(name) if name == "log_tail" else runs.c[name] for name in Run._fields]
    which = runs.c.worker == worker, runs.c.mirror.in_(names), runs.c.ended_at.is_not(None)
    with store.transaction() as tx:
        row = tx.execute(select(*columns).where(*which).order_by(*_ORDER).limit(1)).one_or_none()
    return None if row is None else Run._make(row)


def _cursor(row: Any) -> str:
    # A row and not an offset, because runs that end meanwhile would shift the pages.
    place = [row.ended_at, row.worker, row.journal, row.id]
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def _after(cursor: str) -> ColumnElement[bool]:
    try:
        at, worker, journal, number = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        at, worker, journal, number = float(at), str(worker), str(journal), int(number)
        number.to_bytes(8, signed=True)  # both lines fail on values that a database cannot hold
        f"{worker}{journal}".encode()
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise RejectedRequest(400, "invalid `cursor`: use the value from the previous answer") from error
    table = runs.c
    return or_(
        table.ended_at < at,
        and_(table.ended_at == at, table.worker > worker),
        and_(table.ended_at == at, table.worker == worker, table.journal > journal),
        and_(table.ended_at == at, table.worker == worker, table.journal == journal, table.id < number),
    )
