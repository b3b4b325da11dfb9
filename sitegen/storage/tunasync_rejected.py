"""Stores names of Go workers' jobs that are not valid mirror names, so that pages show why a job is missing.

A name is deleted when its worker registers again, or when a schedule does not list it. A schedule lists all jobs except
active, paused and disabled ones.
"""

import logging
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, delete, select

from schemas.states import ACTIVE, DISABLED, PAUSED
from schemas.terminal import plain
from sitegen.messages.model import TUNASYNC
from sitegen.storage import tables, tunasync_rows
from sitegen.storage.dialects import upsert
from sitegen.storage.store import Store, count_change

MOST = 100
"""Names stored for one worker."""

LONGEST = 100
"""Characters stored of a name."""

_UNSCHEDULED = ACTIVE | {PAUSED, DISABLED}
"""Statuses of jobs that no schedule lists."""

_log = logging.getLogger(__name__)


def add(opened: Store, worker: str, name: str, status: str) -> bool:
    """Store the name of a status that was rejected; return whether pages must change."""
    key = shortened(name)
    # read first: a job reports its status repeatedly, mostly without a change, and writers block each other
    with opened.transaction() as tx:
        if not _is_of_go(tx, worker) or _of(tx, worker).get(key) == status:
            return False
    with opened.transaction(writing=True) as tx:
        before = _of(tx, worker)
        return _replace(tx, worker, before, before | {key: status})


def replace(tx: Connection, worker: str, names: Iterable[str]) -> None:
    """Store the names in a schedule, and keep those of jobs that no schedule lists."""
    before = _of(tx, worker)
    listed = {key: before.get(key, "") for key in map(shortened, names)}
    unlisted = {key: status for key, status in before.items() if status in _UNSCHEDULED}
    _replace(tx, worker, before, listed | unlisted)


def clear(tx: Connection, worker: str) -> None:
    """Delete the names of a worker."""
    before = _of(tx, worker)
    if before:
        _replace(tx, worker, before, {})


def shortened(name: str) -> str:
    """Return a name as it is stored: printable, valid UTF-8 and not too long."""
    return plain(name)[:LONGEST].encode("utf-8", "replace").decode()


def _is_of_go(tx: Connection, worker: str) -> bool:
    journal = select(tables.workers.c.journal).where(tables.workers.c.name == worker)
    return bool(tx.execute(journal).scalar() == TUNASYNC)


def _of(tx: Connection, worker: str) -> dict[str, str]:
    table = tables.tunasync_rejected.c
    rows = tx.execute(select(table.name, table.status).where(table.worker == worker).order_by(table.name))
    return {row[0]: row[1] for row in rows}


def _replace(tx: Connection, worker: str, before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Replace names, MOST at most; return whether that changes a page."""
    table, kept = tables.tunasync_rejected, dict(list(after.items())[:MOST])
    new, gone = kept.keys() - before.keys(), before.keys() - kept.keys()
    for name in sorted(gone):
        tx.execute(delete(table).where(table.c.worker == worker, table.c.name == name))
    upsert(tx, table, ("worker", "name", "status"), [(worker, *item) for item in sorted(kept.items() - before.items())])
    for name in sorted(new):
        _log.warning("worker %s of tunasync: %s", worker, " ".join(tunasync_rows.problem_of(name)[2:]))
    if new or gone:
        count_change(tx)
    return bool(new or gone)
