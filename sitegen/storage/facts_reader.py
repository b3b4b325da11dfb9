"""Reads the facts for pages, all at one moment."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Select, select

from schemas.report import MirrorStatus, Run
from sitegen.messages.model import DeclaredConfig, Facts, Note, PastRun, WorkerState
from sitegen.storage import codec, corruption, past_runs, rows, tables, tunasync_rows
from sitegen.storage.database import number

_CHUNK = 200
"""Names in one query: SQLite limits the number of parameters."""


class FactsReader:
    """The reads for pages, in one transaction."""

    def __init__(self, tx: Connection) -> None:
        self._tx = tx

    def facts(self, before: Facts | None = None) -> Facts:
        """Return all facts for pages, except the history.

        With the facts from `before`, only changes since are read; unchanged values are the same objects.
        """
        tx = self._tx
        changes = number(tx, "changes")
        if before is not None and before.changes > changes:  # a backup was restored
            before = None
        config, revisions = _catalogue(tx, before)
        damaged: rows.Damages = {}
        found = notes(tx)
        workers, statuses = _workers(tx, damaged), _statuses(tx, before, damaged)
        return Facts(
            changes=changes,
            workers=workers,
            statuses=statuses,
            declared=config,
            refused=found.get(tables.REFUSED),
            unreachable=found.get(tables.UNREACHABLE),
            revisions=revisions,
            damaged=damaged,
            sizes=tunasync_rows.sizes(tx, before, workers, statuses),
        )

    def histories(
        self, mirrors: Sequence[str], formerly: Mapping[str, Sequence[str]] = MappingProxyType({})
    ) -> dict[str, tuple[PastRun, ...]]:
        """Return the last ended runs of each of these mirrors on all workers, newest first.

        `formerly` has previous names of mirrors, whose runs are included.
        """
        names = {mirror: (mirror, *formerly.get(mirror, ())) for mirror in mirrors}
        wanted = sorted({name for each in names.values() for name in each})
        found: dict[str, list[PastRun]] = {name: [] for name in wanted}
        for start in range(0, len(wanted), _CHUNK):
            for row in self._tx.execute(past_runs.rows_of(wanted[start : start + _CHUNK])):
                if row[0] in found:  # a damaged index can return the row of another mirror
                    found[row[0]].append(PastRun(row[1], Run._make(row[2:-1])))
        return {mirror: past_runs.newest([found[name] for name in each]) for mirror, each in names.items()}


def _workers(tx: Connection, damaged: rows.Damages) -> tuple[WorkerState, ...]:
    worker, clock, policy = tables.workers, tables.clocks, tables.policies
    columns = [worker.c[name] for name in rows.WORKER_COLUMNS]
    found = clock.c.ahead.label("clock_ahead"), clock.c.at.label("clock_at"), policy.c.digest.label("policy")
    with_clocks = worker.outerjoin(clock, worker.c.name == clock.c.worker)
    which = select(*columns, *found).select_from(with_clocks.outerjoin(policy, worker.c.name == policy.c.worker))
    states = [rows.worker(row._asdict(), damaged) for row in tx.execute(which)]
    return tunasync_rows.with_problems(tx, states)


def _statuses(tx: Connection, before: Facts | None, damaged: rows.Damages) -> dict[tuple[str, str], MirrorStatus]:
    """Return the statuses from before whose worker still exists and sent no snapshot since, updated by changes."""
    seen = before.changes if before else -1
    table = tables.workers.c
    kept = set(tx.execute(select(table.name).where(table.replaced <= seen)).scalars())
    found = {key: status for key, status in before.statuses.items() if key[0] in kept} if before else {}
    known = before.damaged if before else {}
    damaged.update({key: what for key, what in known.items() if key in found})
    for row in tx.execute(_state_rows().where(tables.mirror_state.c.changed > seen)):
        damaged.pop((row[0], row[1]), None)
        found[row[0], row[1]] = rows.status(row, damaged)
    return found


def _catalogue(tx: Connection, before: Facts | None) -> tuple[DeclaredConfig | None, frozenset[str]]:
    """Return the configuration in use and all revisions that ever were; both change together."""
    changed = tx.execute(select(tables.catalogue.c.changed)).scalar()
    if before is not None and changed is not None and changed <= before.changes:
        return before.declared, before.revisions
    return declared(tx), frozenset(tx.execute(select(tables.revisions.c.commit)).scalars())


def notes(tx: Connection) -> dict[int, Note]:
    """Return why the newest revision is not in use, by the row's ID."""
    table = tables.refusal.c
    rows_ = tx.execute(select(table.id, *(table[name] for name in Note._fields)))
    return {row[0]: Note._make(row[1:]) for row in rows_}


def _state_rows() -> Select[Any]:
    state, run = tables.mirror_state, tables.runs
    same_run = (run.c.worker == state.c.worker) & (run.c.journal == state.c.journal) & (run.c.id == state.c.run_id)
    columns = [*(state.c[name] for name in rows.STATE_COLUMNS), *(run.c[name] for name in Run._fields)]
    return select(*columns).select_from(state.outerjoin(run, same_run))


def declared(tx: Connection) -> DeclaredConfig | None:
    """Return the configuration in use, None before the first."""
    row = tx.execute(select(tables.catalogue)).one_or_none()
    if row is None:
        return None
    return DeclaredConfig(
        row.revision,
        row.committed_at,
        corruption.read(codec.decode_site, row.site, "catalogue 1", "site"),
        corruption.read(codec.decode_workers, row.workers, "catalogue 1", "workers"),
        corruption.read(codec.decode_mirrors, row.mirrors, "catalogue 1", "mirrors"),
        corruption.read(lambda text: tuple(map(str, json.loads(text))), row.problems, "catalogue 1", "problems"),
        corruption.read(codec.decode_policies, row.policies, "catalogue 1", "policies"),
    )
