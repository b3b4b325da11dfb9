"""Stores the exported policy that each worker reported. Its content is for operators and readers, never on pages."""

import json
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select

from sitegen.storage import corruption
from sitegen.storage.dialects import upsert
from sitegen.storage.store import Store, count_change
from sitegen.storage.tables import policies


class ReportedPolicy(NamedTuple):
    """A worker's exported policy as plain values, its digest, and when it arrived (Unix seconds)."""

    worker: str
    digest: str
    document: dict[str, Any]
    reported_at: float


def keep(tx: Connection, policy: ReportedPolicy) -> None:
    """Replace the policy of a worker."""
    row = policy._replace(document=json.dumps(policy.document))  # type: ignore[arg-type] # as the column has it
    upsert(tx, policies, ReportedPolicy._fields, [row])
    count_change(tx)


def remove(tx: Connection, worker: str) -> None:
    """Delete the policy of a worker, which no longer reports one."""
    tx.execute(delete(policies).where(policies.c.worker == worker))
    count_change(tx)


def digest(store: Store, worker: str) -> str | None:
    """Return the digest of a worker's policy, None if there is none."""
    with store.transaction() as tx:
        found: str | None = tx.execute(select(policies.c.digest).where(policies.c.worker == worker)).scalar()
        return found


def reported(store: Store) -> list[ReportedPolicy]:
    """Return all policies, sorted by worker. Those that cannot be decoded are logged and left out."""
    columns = [policies.c[name] for name in ReportedPolicy._fields]
    with store.transaction() as tx:
        rows = tx.execute(select(*columns).order_by(policies.c.worker)).all()
    return list(corruption.sound([partial(_decoded, *row) for row in rows]))


def _decoded(worker: str, digest: str, document: str, reported_at: float) -> ReportedPolicy:
    plain = corruption.read(decode, document, f"policies {worker}", "document")
    return ReportedPolicy(worker, digest, plain, reported_at)


def decode(text: str) -> dict[str, Any]:
    """Decode a document; ValueError if it is not a JSON object."""
    plain = json.loads(text)
    if not isinstance(plain, dict):
        raise ValueError("it is not an object")
    return plain
