"""Names of Go workers' jobs that no mirror can have here: kept, so that a job is not missing without a word.

A name is taken off when its worker registers again, and when a schedule does not list it, which is complete but for
jobs under way or held.
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
"""Names that are kept of one worker."""

LONGEST = 100
"""Characters of a name that are kept."""

_KEPT = ACTIVE | {PAUSED, DISABLED}
"""Statuses of jobs that a worker has and no schedule lists."""

_log = logging.getLogger(__name__)


def add(opened: Store, worker: str, name: str, status: str) -> bool:
    """Keep a name under which a status came; returns whether that is to be shown."""
    key = shortened(name)
    with opened.transaction() as tx:  # a job tells its status again and again, and hardly ever anything new
        if not _is_of_go(tx, worker) or _of(tx, worker).get(key) == status:
            return False
    with opened.transaction(writing=True) as tx:
        before = _of(tx, worker)
        return _replace(tx, worker, before, before | {key: status})


def replace(tx: Connection, worker: str, names: Iterable[str]) -> None:
    """Keep the names that a schedule lists, and those of jobs that none lists."""
    before = _of(tx, worker)
    listed = {key: before.get(key, "") for key in map(shortened, names)}
    unlisted = {key: status for key, status in before.items() if status in _KEPT}
    _replace(tx, worker, before, listed | unlisted)


def clear(tx: Connection, worker: str) -> None:
    """Forget the names of a worker."""
    before = _of(tx, worker)
    if before:
        _replace(tx, worker, before, {})


def shortened(name: str) -> str:
    """A name that can be kept, whatever it is."""
    return plain(name)[:LONGEST].encode("utf-8", "replace").decode()


def _is_of_go(tx: Connection, worker: str) -> bool:
    journal = select(tables.workers.c.journal).where(tables.workers.c.name == worker)
    return bool(tx.execute(journal).scalar() == TUNASYNC)


def _of(tx: Connection, worker: str) -> dict[str, str]:
    table = tables.tunasync_rejected.c
    rows = tx.execute(select(table.name, table.status).where(table.worker == worker).order_by(table.name))
    return {row[0]: row[1] for row in rows}


def _replace(tx: Connection, worker: str, before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    """Put names in the place of others, MOST at most; returns whether that alters a page."""
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
