"""Selects the last ended runs of mirrors, for their pages."""

import heapq
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, literal, select

from schemas.report import Run
from schemas.states import ENDS
from sitegen.messages.model import PastRun
from sitegen.storage import tables

HISTORY = 20
"""Number of runs on a mirror's page."""


def newest(histories: Sequence[Sequence[PastRun]]) -> tuple[PastRun, ...]:
    """Merge the runs of several names of one mirror, each sorted, and return the last HISTORY."""
    if len(histories) == 1:
        return tuple(histories[0])
    return tuple(heapq.merge(*histories, key=lambda item: _when(item.run), reverse=True))[:HISTORY]


def _when(run: Run) -> tuple[float, int]:
    return run.ended_at or run.launched_at or 0, run.id


def _rank(*group: Any) -> Any:
    """Return the rank of an ended run in its group, newest first."""
    table = tables.runs.c
    newest = (func.coalesce(table.ended_at, table.launched_at, 0).desc(), table.id.desc())
    return func.row_number().over(partition_by=group, order_by=newest)


def rows_of(mirrors: Sequence[str]) -> Select[Any]:
    """Select the last HISTORY ended runs of these mirrors: mirror, worker, the run without its log, rank."""
    table = tables.runs.c
    # Pages show no logs of past runs, and logs are most of a row's bytes.
    columns = [literal("").label(name) if name == "log_tail" else table[name] for name in Run._fields]
    rank = _rank(table.mirror).label("rank")
    ranked = (
        select(table.mirror, table.worker.label("on_worker"), *columns, rank)
        .where(table.mirror.in_(mirrors), table.status.in_(sorted(ENDS)))
        .subquery()
    )
    return select(ranked).where(ranked.c.rank <= HISTORY).order_by(ranked.c.mirror, ranked.c.rank)
