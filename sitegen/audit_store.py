"""The audit in the store: who did what, when, to what and from where. Lines are only ever added."""

import json
import uuid

from sqlalchemy import Connection, insert, select

from sitegen.model import Entry
from sitegen.store import Store
from sitegen.tables import audit


def write(tx: Connection, entry: Entry) -> None:
    """Keep a line in the transaction of what it tells, so that neither is there without the other."""
    row = entry._asdict() | {"id": uuid.uuid4().hex, "details": json.dumps(entry.details)}
    tx.execute(insert(audit).values(row))


def read(store: Store, since: float = 0.0) -> list[Entry]:
    """All lines from `since` (Unix seconds) on, oldest first."""
    columns = [audit.c[name] for name in Entry._fields]
    with store.transaction() as tx:
        rows = tx.execute(select(*columns).where(audit.c.at >= since).order_by(audit.c.at, audit.c.id))
        return [Entry._make((*row[:-1], json.loads(row[-1]))) for row in rows]
