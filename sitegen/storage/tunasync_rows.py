"""The rows of Go workers' jobs: what is told again of them, read, written, and what pages need of it."""

import json
from collections.abc import Iterable
from functools import partial

from sqlalchemy import Connection, select

from schemas.terminal import plain
from sitegen.messages import tunasync_rules
from sitegen.messages.model import TUNASYNC, Facts, WorkerState
from sitegen.messages.tunasync_rules import UNKNOWN_SIZE, Job
from sitegen.storage import damage
from sitegen.storage.dialects import upsert
from sitegen.storage.tables import mirror_state, tunasync_jobs


def read(worker: str, mirror: str, text: str) -> Job:
    """Read a row of the table; Damaged when that cannot be done."""
    return damage.read(decode, text, f"tunasync_jobs {worker}/{mirror}", "document")


def decode(text: str) -> Job:
    """Read a document of the table; KeyError, TypeError or ValueError when it is damaged."""
    job = Job(**json.loads(text))
    missing = tunasync_rules.new_job("", "").told.keys() - job.told.keys()
    if missing:
        raise KeyError(*sorted(missing))
    return job


def write(tx: Connection, jobs: Iterable[Job]) -> None:
    """Put jobs in the place of those that were there."""
    rows = [(job.told["worker"], job.told["name"], json.dumps(job._asdict())) for job in jobs]
    upsert(tx, tunasync_jobs, ("worker", "mirror", "document"), rows)


def sizes(
    tx: Connection, before: Facts | None, workers: Iterable[WorkerState], statuses: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """By worker and mirror the sizes as workers of tunasync wrote them; what was known `before` is not read again."""
    foreign = {worker.name for worker in workers if worker.journal == TUNASYNC}
    if not foreign:
        return {}
    told, since = (before.sizes, before.changes) if before else ({}, -1)
    found = {key: told[key] for key in statuses if key[0] in foreign and key in told}
    state, job = mirror_state.c, tunasync_jobs.c
    same = (job.worker == state.worker) & (job.mirror == state.mirror)
    which = select(job.worker, job.mirror, job.document).select_from(tunasync_jobs.join(mirror_state, same))
    which = which.where(state.journal == TUNASYNC, state.changed > since)
    for each in damage.sound(partial(read, *row) for row in tx.execute(which)):
        size = each.told["size"]
        found[each.told["worker"], each.told["name"]] = "" if size == UNKNOWN_SIZE else plain(size)
    return found
