"""Stores tunasync's workers: their JSON, which is returned unchanged, and the statuses for pages.

A status is stored like a Skipjack worker's report, in the same transaction, so no other module depends on tunasync.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from schemas.names import is_name
from schemas.report import CHANGE, Envelope, MirrorStatus, Report
from schemas.states import DISABLED
from sitegen.messages import tunasync_marks, tunasync_rules
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import TUNASYNC, AuditEntry, Delivery
from sitegen.messages.tunasync_rules import TunasyncJob, stamp
from sitegen.storage import audit_store, corruption, store, tables, tunasync_rejected, tunasync_rows
from sitegen.storage.store import Store
from sitegen.storage.tables import tunasync_jobs, tunasync_workers


def register(tx: Connection, name: str, url: str, now: int) -> dict[str, str]:
    """Add or update a Go worker; `now` is in nanoseconds. RejectedRequest if it is a Skipjack worker."""
    at = stamp(now)
    row = {"url": url, "last_online": at, "last_register": at}
    journal = _journal(tx, name)
    if journal not in (None, TUNASYNC):
        raise RejectedRequest(400, f"{name} is a worker of Skipjack; delete it first to register it as one of tunasync")
    tx.execute(delete(tunasync_workers).where(tunasync_workers.c.name == name))
    tx.execute(insert(tunasync_workers).values(name=name, **row))
    # a worker that starts asks for its jobs and leaves paused and disabled ones alone, so commands took effect
    _write(tx, name, now, list(map(tunasync_marks.confirmed, tunasync_rows.unconfirmed(tx, name))))
    tunasync_rejected.clear(tx, name)
    if journal is None:  # readers with cached facts must not continue with a deleted worker of this name
        new = update(tables.workers).where(tables.workers.c.name == name)
        tx.execute(new.values(replaced=store.count_change(tx)))
    return {"last_online": at, "last_register": at}


def alter(
    tx: Connection, worker: str, mirror: str, changed: dict[str, str], now: int, by: AuditEntry | None = None
) -> dict[str, Any]:
    """Change fields of a job; return it as stored now. RejectedRequest if the worker or the job is unknown.

    `now` is in nanoseconds. `by` is who requested it, None for the worker itself.
    """
    _require_known(tx, worker)
    before = _job(tx, worker, mirror)
    if before is None:
        raise RejectedRequest(404, f"no mirror '{mirror}' exists in worker '{worker}'")
    job = before._replace(told=before.told | changed)
    _keep(tx, job, now)
    if by is not None:
        audit_store.write(tx, by._replace(subject=worker, details={"mirrors": [mirror], **changed}))
    return job.told


def replace(
    opened: Store, worker: str, mirror: str, expected: str | None, change: Callable[[TunasyncJob], TunasyncJob]
) -> TunasyncJob | None:
    """Change a job if it still has the `expected` status (None: any status).

    Return the job from before, None if there is no such job. This does not count as a heartbeat of the worker.
    """
    with opened.transaction(writing=True) as tx:
        before = _readable_job(tx, worker, mirror)
        if before is None or expected not in (None, before.told["status"]):
            return None
        job = change(before)
        if job != before:
            seen = tx.execute(select(tables.workers.c.last_seen).where(tables.workers.c.name == worker)).scalar() or 0
            _write(tx, worker, int(seen * 1e9), [job])
    return before


def schedule(tx: Connection, worker: str, times: dict[str, str], now: int) -> None:
    """Store when runs are due. A mirror that is not listed is not scheduled; unknown ones are ignored.

    A worker does not schedule paused and disabled jobs, so the list confirms or contradicts unconfirmed commands.
    """
    _require_known(tx, worker)
    changed = [
        _scheduled(job, times.get(job.told["name"], tunasync_rules.ZERO_RFC3339))
        for job in tunasync_rows.otherwise_scheduled(tx, worker, times)
    ]
    seen = update(tunasync_workers).where(tunasync_workers.c.name == worker)
    tx.execute(seen.values(last_online=stamp(now)))
    _write(tx, worker, now, changed)
    tunasync_rejected.replace(tx, worker, (name for name in times if name and not is_name(name)))


def _scheduled(job: TunasyncJob, at: str) -> TunasyncJob:
    is_due = at != tunasync_rules.ZERO_RFC3339
    known = tunasync_marks.contradicted(job) if is_due else tunasync_marks.confirmed(job)
    return known._replace(told=known.told | {"next_schedule": at})


def _write(tx: Connection, worker: str, now: int, jobs: list[TunasyncJob]) -> None:
    """Write jobs and their statuses for pages."""
    tunasync_rows.write(tx, jobs)
    _deliver(tx, worker, now, *map(tunasync_rules.status_of, jobs))


def forget(tx: Connection, worker: str, by: AuditEntry) -> None:
    """Delete a worker of either kind with its state, but not its history; RejectedRequest if it is unknown.

    A Skipjack worker that still reports returns. The journals stay, because runs refer to them. A Skipjack worker's
    acknowledged number is reset, so that it is asked for a snapshot if it returns; a Go worker's continues, so that new
    runs do not replace old ones.
    """
    mine: list[tuple[Table, Any]] = [
        (tunasync_workers, tunasync_workers.c.name),
        (tunasync_jobs, tunasync_jobs.c.worker),
        (tables.tunasync_rejected, tables.tunasync_rejected.c.worker),
        (tables.clocks, tables.clocks.c.worker),
        (tables.policies, tables.policies.c.worker),
        (tables.limited_times, tables.limited_times.c.worker),
        (tables.workers, tables.workers.c.name),
        (tables.mirror_state, tables.mirror_state.c.worker),
    ]
    if _journal(tx, worker) is None:
        raise RejectedRequest(400, f"invalid workerID {worker}")
    for table, column in mine:
        tx.execute(delete(table).where(column == worker))
    own = (tables.journals.c.worker == worker) & (tables.journals.c.journal != TUNASYNC)
    tx.execute(update(tables.journals).where(own).values(acknowledged=0))
    store.count_change(tx)
    audit_store.write(tx, by._replace(action="delete worker", subject=worker))


def flush(tx: Connection, by: AuditEntry) -> None:
    """Delete the disabled jobs of Go workers."""
    jobs = [job for job in _jobs(tx) if job.told["status"] == DISABLED and _journal(tx, job.told["worker"]) == TUNASYNC]
    change = store.count_change(tx)
    for job in jobs:
        _remove(tx, job.told["worker"], job.told["name"], change)
    names = [f"{job.told['worker']}/{job.told['name']}" for job in jobs]
    audit_store.write(tx, by._replace(action="flush disabled", details={"jobs": names}))


def _remove(tx: Connection, worker: str, mirror: str, change: int) -> None:
    """Delete a job. The worker's other jobs count as changed, so that readers with cached facts read them again."""
    state = tables.mirror_state.c
    tx.execute(delete(tunasync_jobs).where(tunasync_jobs.c.worker == worker, tunasync_jobs.c.mirror == mirror))
    tx.execute(delete(tables.mirror_state).where(state.worker == worker, state.mirror == mirror))
    tx.execute(update(tables.mirror_state).where(state.worker == worker).values(changed=change))
    tx.execute(update(tables.workers).where(tables.workers.c.name == worker).values(replaced=change))


def workers(opened: Store) -> dict[str, dict[str, str]]:
    """Return all Go workers by name, with their URL and times."""
    table = tunasync_workers.c
    of_go = table.name.in_(select(tables.workers.c.name).where(tables.workers.c.journal == TUNASYNC))
    with opened.transaction() as tx:
        rows = tx.execute(select(table.name, table.url, table.last_online, table.last_register).where(of_go))
        return {row[0]: {"url": row[1], "last_online": row[2], "last_register": row[3]} for row in rows}


def jobs(opened: Store, worker: str | None = None) -> list[dict[str, Any]]:
    """Return the JSON of the jobs of a Go worker, or of all Go workers, sorted by name."""
    with opened.transaction() as tx:
        return [job.told for job in _jobs(tx, worker)]


def _jobs(tx: Connection, worker: str | None = None) -> list[TunasyncJob]:
    which = select(tunasync_jobs).order_by(tunasync_jobs.c.mirror, tunasync_jobs.c.worker)
    if worker is None:  # an older release left rows of workers that became Skipjack workers
        of_go = select(tables.workers.c.name).where(tables.workers.c.journal == TUNASYNC)
        which = which.where(tunasync_jobs.c.worker.in_(of_go))
    else:
        which = which.where(tunasync_jobs.c.worker == worker)
    return list(corruption.sound(partial(tunasync_rows.read, *row) for row in tx.execute(which)))


def _readable_job(tx: Connection, worker: str, mirror: str) -> TunasyncJob | None:
    """Return a job, None if it is missing or damaged. A damaged one starts again with its next post."""
    return next(corruption.sound([lambda: _job(tx, worker, mirror)]), None)


def _job(tx: Connection, worker: str, mirror: str) -> TunasyncJob | None:
    mine = (tunasync_jobs.c.worker == worker) & (tunasync_jobs.c.mirror == mirror)
    text = tx.execute(select(tunasync_jobs.c.document).where(mine)).scalar()
    return None if text is None else tunasync_rows.read(worker, mirror, text)


def _keep(tx: Connection, job: TunasyncJob, now: int) -> None:
    worker = job.told["worker"]
    seen = update(tunasync_workers).where(tunasync_workers.c.name == worker)
    tx.execute(seen.values(last_online=stamp(now)))
    _write(tx, worker, now, [job])


def _deliver(tx: Connection, worker: str, now: int, *statuses: MirrorStatus) -> None:
    at = now / 1e9
    reports = (Report(_next_number(tx, worker), at, CHANGE, statuses),) if statuses else ()
    envelope = Envelope(worker, TUNASYNC, at, "", None, 0, 0, (), reports)
    store.apply_in(tx, [Delivery(envelope, at)])


def _next_number(tx: Connection, worker: str) -> int:
    table = tables.journals.c
    mine = (table.worker == worker) & (table.journal == TUNASYNC)
    return int(tx.execute(select(table.acknowledged).where(mine)).scalar() or 0) + 1


def _journal(tx: Connection, worker: str) -> str | None:
    return tx.execute(select(tables.workers.c.journal).where(tables.workers.c.name == worker)).scalar()


def _require_known(tx: Connection, worker: str) -> None:
    require_of_go(worker, _journal(tx, worker))


def require_of_go(worker: str, journal: str | None) -> None:
    """RejectedRequest unless `journal` is that of a registered worker of tunasync; None means an unknown worker."""
    if journal is None:
        raise RejectedRequest(400, f"invalid workerID {worker}")
    if journal != TUNASYNC:
        raise RejectedRequest(400, f"{worker} is a worker of Skipjack, which sends its own reports")
