"""The audit in the store: who did what, when, to what and from where. Lines are added, and go when they are old."""

import json
import uuid
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select

from sitegen.messages.model import AuditEntry
from sitegen.storage import corruption
from sitegen.storage.store import Store
from sitegen.storage.tables import audit

REFUSED = "refused "
"""What the action of a refused attempt begins with."""

MOST_REFUSED = 10_000
"""Lines of refused attempts that are kept; the oldest go, since anybody can make new ones."""

STEP = 200
"""Lines that are removed in one transaction, so that none takes longer than a batch of reports."""


def write(tx: Connection, entry: AuditEntry) -> None:
    """Keep a line in the transaction of what it tells, so that neither is there without the other."""
    row = entry._asdict() | {"id": uuid.uuid4().hex, "details": json.dumps(entry.details)}
    tx.execute(insert(audit).values(row))


def read(store: Store, since: float = 0.0) -> list[AuditEntry]:
    """All lines from `since` (Unix seconds) on, oldest first."""
    columns = [audit.c[name] for name in AuditEntry._fields]
    with store.transaction() as tx:
        rows = tx.execute(select(*columns).where(audit.c.at >= since).order_by(audit.c.at, audit.c.id))
        return [AuditEntry._make((*row[:-1], _details(row[-1]))) for row in rows]


def decode_details(text: str) -> dict[str, Any]:
    """Read a line's details; TypeError or ValueError when they are damaged."""
    return dict(json.loads(text))


def _details(text: str) -> dict[str, Any]:
    """What a line tells, as it stands there when it cannot be read: the rest of the line counts all the same."""
    try:
        return decode_details(text)
    except corruption.UNREADABLE:
        return {"unreadable": text}


def forget(store: Store, before: float) -> int:
    """Remove at most STEP lines from before a moment; returns how many."""
    return _forget(store, select(audit.c.id).where(audit.c.at < before))


def forget_refused(store: Store) -> int:
    """Remove at most STEP of the oldest refused attempts that are too many; returns how many."""
    newest_first = select(audit.c.id).where(audit.c.action.startswith(REFUSED)).order_by(audit.c.at.desc(), audit.c.id)
    return _forget(store, newest_first.offset(MOST_REFUSED))


def _forget(store: Store, which: Select[Any]) -> int:
    with store.transaction() as tx:
        old = tx.execute(which.limit(STEP)).scalars().all()
    if old:
        with store.transaction(writing=True) as tx:
            tx.execute(delete(audit).where(audit.c.id.in_(old)))
    return len(old)
