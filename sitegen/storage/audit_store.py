"""The audit log: who did what, when, to what and from where. Lines are only added, and deleted when they are old."""

import json
import uuid
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select

from sitegen.messages.model import AuditEntry
from sitegen.storage import corruption
from sitegen.storage.store import Store
from sitegen.storage.tables import audit

REFUSED = "refused "
"""Prefix of the action of a rejected attempt."""

MOST_REFUSED = 10_000
"""Lines of rejected attempts that are kept. Anyone can cause new ones, so the oldest are deleted."""

STEP = 200
"""Lines deleted per transaction, so that none takes longer than a batch of reports."""


def write(tx: Connection, entry: AuditEntry) -> None:
    """Add a line in the transaction of the action itself, so that neither is stored without the other."""
    row = entry._asdict() | {"id": uuid.uuid4().hex, "details": json.dumps(entry.details)}
    tx.execute(insert(audit).values(row))


def read(store: Store, since: float = 0.0) -> list[AuditEntry]:
    """Return all lines from `since` (Unix seconds) on, oldest first."""
    columns = [audit.c[name] for name in AuditEntry._fields]
    with store.transaction() as tx:
        rows = tx.execute(select(*columns).where(audit.c.at >= since).order_by(audit.c.at, audit.c.id))
        return [AuditEntry._make((*row[:-1], _details(row[-1]))) for row in rows]


def decode_details(text: str) -> dict[str, Any]:
    """Decode a line's details; TypeError or ValueError if they are damaged."""
    return dict(json.loads(text))


def _details(text: str) -> dict[str, Any]:
    """Decode a line's details, or return the raw text: the rest of the line is still of use."""
    try:
        return decode_details(text)
    except corruption.UNREADABLE:
        return {"unreadable": text}


def forget(store: Store, before: float) -> int:
    """Delete at most STEP lines from before a moment (Unix seconds); return how many."""
    return _forget(store, select(audit.c.id).where(audit.c.at < before))


def forget_refused(store: Store) -> int:
    """Delete at most STEP of the oldest rejected attempts above MOST_REFUSED; return how many."""
    newest_first = select(audit.c.id).where(audit.c.action.startswith(REFUSED)).order_by(audit.c.at.desc(), audit.c.id)
    return _forget(store, newest_first.offset(MOST_REFUSED))


def _forget(store: Store, which: Select[Any]) -> int:
    with store.transaction() as tx:
        # Found in a read transaction, so that nothing blocks writers while there is nothing to delete.
        old = tx.execute(which.limit(STEP)).scalars().all()
    if old:
        with store.transaction(writing=True) as tx:
            tx.execute(delete(audit).where(audit.c.id.in_(old)))
    return len(old)
