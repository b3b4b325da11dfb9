"""Reads and writes the rows of Go workers' jobs, and returns the values from them that pages need."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from sqlalchemy import Connection, select

from schemas.report import ReportedProblem
from schemas.terminal import plain
from sitegen.messages import tunasync_rules
from sitegen.messages.model import TUNASYNC, Facts, WorkerState
from sitegen.messages.tunasync_rules import UNKNOWN_SIZE, ZERO_RFC3339, TunasyncJob
from sitegen.storage import corruption
from sitegen.storage.dialects import upsert
from sitegen.storage.tables import mirror_state, tunasync_jobs, tunasync_rejected

_KEYS = tunasync_rules.new_job("", "").told.keys()

_OF_WORKER = {
    "sqlite": "SELECT mirror, document FROM tunasync_jobs WHERE worker = ?",
    "postgresql": "SELECT mirror, document FROM tunasync_jobs WHERE worker = %s",
}


def read(worker: str, mirror: str, text: str) -> TunasyncJob:
    """Read a row of the table; Damaged if it cannot be decoded."""
    return corruption.read(decode, text, f"tunasync_jobs {worker}/{mirror}", "document")


def decode(text: str) -> TunasyncJob:
    """Decode a document of the table; KeyError, TypeError or ValueError if it is damaged."""
    job = TunasyncJob(**json.loads(text))
    missing = _KEYS - job.told.keys()
    if missing:
        raise KeyError(*sorted(missing))
    return job


def write(tx: Connection, jobs: Iterable[TunasyncJob]) -> None:
    """Insert or replace jobs."""
    rows = [(job.told["worker"], job.told["name"], json.dumps(job._asdict())) for job in jobs]
    upsert(tx, tunasync_jobs, ("worker", "mirror", "document"), rows)


def otherwise_scheduled(tx: Connection, worker: str, times: Mapping[str, str]) -> list[TunasyncJob]:
    """Return a worker's jobs whose next run differs from a complete schedule, or with an unconfirmed command.

    A worker sends a schedule after each run, and most times in it are unchanged, so the other jobs are not decoded.
    """
    return _of_worker(
        tx,
        worker,
        lambda mirror, text: not _is_scheduled(text, times.get(mirror, ZERO_RFC3339)) or _is_unconfirmed(text),
    )


def unconfirmed(tx: Connection, worker: str) -> list[TunasyncJob]:
    """Return the jobs of a worker with an unconfirmed command."""
    return _of_worker(tx, worker, lambda _mirror, text: _is_unconfirmed(text))


def _of_worker(tx: Connection, worker: str, is_wanted: Callable[[str, object], bool]) -> list[TunasyncJob]:
    rows = tx.exec_driver_sql(_OF_WORKER[tx.dialect.name], (worker,)).all()
    return list(corruption.sound(partial(read, worker, *row) for row in rows if is_wanted(*row)))


def _is_scheduled(text: object, at: str) -> bool:
    """Whether a document has this next run. No text in it can match, because JSON escapes quotes."""
    return isinstance(text, str) and f'"next_schedule": "{at}"' in text


def _is_unconfirmed(text: object) -> bool:
    return isinstance(text, str) and '"unconfirmed": {' in text


def sizes(
    tx: Connection, before: Facts | None, workers: Iterable[WorkerState], statuses: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """Return sizes as tunasync's workers wrote them, by worker and mirror. Unchanged ones come from `before`."""
    foreign = {worker.name for worker in workers if worker.journal == TUNASYNC}
    if not foreign:
        return {}
    known, since = (before.sizes, before.changes) if before else ({}, -1)
    found = {key: known[key] for key in statuses if key[0] in foreign and key in known}
    state, job = mirror_state.c, tunasync_jobs.c
    same = (job.worker == state.worker) & (job.mirror == state.mirror)
    which = select(job.worker, job.mirror, job.document).select_from(tunasync_jobs.join(mirror_state, same))
    which = which.where(state.journal == TUNASYNC, state.changed > since)
    for each in corruption.sound(partial(read, *row) for row in tx.execute(which)):
        size = each.told["size"]
        found[each.told["worker"], each.told["name"]] = "" if size == UNKNOWN_SIZE else plain(size)
    return found


def with_problems(tx: Connection, workers: Iterable[WorkerState]) -> tuple[WorkerState, ...]:
    """Return the workers, with a problem for each tunasync job whose name is not valid here."""
    found = tuple(workers)
    if not any(worker.journal == TUNASYNC for worker in found):
        return found
    names: dict[str, list[str]] = {}
    table = tunasync_rejected.c
    for worker, name in tx.execute(select(table.worker, table.name).order_by(table.name)):
        names.setdefault(worker, []).append(name)
    return tuple(
        worker._replace(problems=tuple(map(problem_of, names.get(worker.name, ()))))
        if worker.journal == TUNASYNC
        else worker
        for worker in found
    )


def problem_of(name: str) -> ReportedProblem:
    """Return the problem of a job whose name is not a valid mirror name."""
    what = f"The mirror `{name}` is ignored: its name is not valid here."
    rule = "a letter or digit, then letters, digits, `.`, `_` and `-`, 64 at most"
    todo = f"Rename it in the worker's configuration: {rule}."
    return ReportedProblem(None, "mirrors", what, todo)
