"""Stores by how much workers' clocks were wrong, and what times in the future were limited to."""

from collections.abc import Iterable

from sqlalchemy import Connection, delete, select

from schemas.report import Envelope, Run
from sitegen.messages.model import Delivery
from sitegen.storage import clocks, tables
from sitegen.storage.accept import BatchPlan
from sitegen.storage.dialects import upsert


def earlier(tx: Connection, deliveries: Iterable[Delivery]) -> clocks.Earlier:
    """Read the stored limits of workers that report times in the future. Others need no query."""
    ahead = [each.envelope for each in deliveries if clocks.is_ahead(*each)]
    found = clocks.Earlier({}, {})
    if not ahead:
        return found
    table, run = tables.limited_times.c, tables.runs.c
    for row in tx.execute(select(tables.limited_times).where(table.worker.in_({each.worker for each in ahead}))):
        found.times[row.worker, row.mirror, row.name] = clocks.Limited(row.told, row.at)
    for envelope in ahead:
        mine = (run.worker == envelope.worker) & (run.journal == envelope.journal) & run.id.in_(_run_ids(envelope))
        for worker, journal, *values in tx.execute(
            select(run.worker, run.journal, *(run[name] for name in Run._fields)).where(mine)
        ):
            found.runs[worker, journal, values[0]] = Run._make(values)
    return found


def _run_ids(envelope: Envelope) -> set[int]:
    current = [status.run for report in envelope.reports for status in report.statuses if status.run]
    return {run.id for run in (*current, *(run for report in envelope.reports for _mirror, run in report.runs))}


def write(tx: Connection, plan: BatchPlan) -> None:
    """Store a batch's findings about clocks. The limit of a time is kept until that time has passed."""
    if plan.clocks:
        upsert(tx, tables.clocks, ("worker", "ahead", "at"), [(name, *found) for name, found in plan.clocks.items()])
    if plan.limited:
        table = tables.limited_times
        tx.execute(delete(table).where(table.c.told < min(limited.at for limited in plan.limited.values())))
        new = [(*key, *limited) for key, limited in plan.limited.items()]
        upsert(tx, table, ("worker", "mirror", "name", "told", "at"), new)
