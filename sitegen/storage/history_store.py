"""Deletes runs that are too old or too many, a few at a time.

The last run of a mirror stays, with its log, as long as its worker reports the mirror. Times are Unix
seconds.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Executable, and_, bindparam, delete, exists, func, select, union, update

from schemas.records import History
from sitegen.storage.store import Store
from sitegen.storage.tables import mirror_state, runs

STEP = 200
"""Runs per transaction, so that none takes longer than a batch of reports."""

Group = tuple[str, str]
"""A worker and a mirror."""

_AT = func.coalesce(runs.c.ended_at, runs.c.launched_at, 0)
_KEY = (runs.c.worker, runs.c.journal, runs.c.id)
_IS_LAST = exists().where(
    mirror_state.c.worker == runs.c.worker,
    mirror_state.c.journal == runs.c.journal,
    mirror_state.c.run_id == runs.c.id,
)
_THIS = and_(
    runs.c.worker == bindparam("the_worker"),
    runs.c.journal == bindparam("the_journal"),
    runs.c.id == bindparam("the_id"),
)


def crowded(store: Store, history: History, now: float) -> list[Group]:
    """Return the groups that have runs to delete. The query reads only an index."""
    group = (runs.c.worker, runs.c.mirror)
    is_many, is_old = func.count() > history.runs_per_mirror, func.min(runs.c.ended_at) < now - history.keep_runs
    with store.transaction() as tx:
        return [(row[0], row[1]) for row in tx.execute(select(*group).group_by(*group).having(is_many | is_old))]


def forget_runs(store: Store, group: Group, history: History, now: float) -> int:
    """Delete at most STEP runs of a group; return how many."""
    of_group = and_(runs.c.worker == group[0], runs.c.mirror == group[1], ~_IS_LAST)
    old = select(*_KEY).where(of_group, now - history.keep_runs > _AT).limit(STEP)
    newest_first = (_AT.desc(), runs.c.id.desc())
    many = select(*_KEY).where(of_group).order_by(*newest_first).offset(history.runs_per_mirror).limit(STEP)
    with store.transaction() as tx:
        # Each part is a subquery, because SQLite allows no LIMIT within a UNION.
        found = tx.execute(union(select(old.subquery()), select(many.subquery())).limit(STEP)).all()
    # Asked again, since a report may have made one of them a last run in between.
    _execute(store, delete(runs).where(_THIS, ~_IS_LAST), found)
    return len(found)


def forget_logs(store: Store, since: float, until: float) -> float:
    """Delete the logs of at most STEP runs that ended in this time; return from when to continue."""
    ended = and_(runs.c.ended_at >= since, runs.c.ended_at < until)
    query = select(*_KEY, runs.c.ended_at).where(ended, runs.c.log_tail != "", ~_IS_LAST)
    with store.transaction() as tx:
        found = tx.execute(query.order_by(runs.c.ended_at).limit(STEP)).all()
    _execute(store, update(runs).where(_THIS).values(log_tail=""), found)
    # Further runs may have ended at the same moment; those of this step have no log any more and are not found again.
    return float(found[-1].ended_at) if len(found) == STEP else until


def _execute(store: Store, statement: Executable, keys: Sequence[Any]) -> None:
    """Execute a statement for each of these runs, in one transaction."""
    if keys:
        with store.transaction(writing=True) as tx:
            tx.execute(statement, [{"the_worker": key[0], "the_journal": key[1], "the_id": key[2]} for key in keys])
