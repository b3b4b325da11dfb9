"""Statuses that tunasync's workers post, many to a transaction, together with the reports of our own workers.

Posts count in the order in which they came. One that is refused changes nothing and spoils no other.
"""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection

from schemas.report import CHANGE, Envelope, Report
from sitegen.messages import tunasync_rules
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import TUNASYNC, AcceptedDeliveries, Delivery
from sitegen.messages.tunasync_rules import Message, TunasyncJob, stamp
from sitegen.storage import corruption, store, tables, tunasync_rows, tunasync_store
from sitegen.storage.dialects import select_of

_SEEN = {
    "sqlite": "UPDATE tunasync_workers SET last_online = ? WHERE name = ?",
    "postgresql": "UPDATE tunasync_workers SET last_online = %s WHERE name = %s",
}

_JOBS = {
    "sqlite": "SELECT j.worker, j.mirror, j.document FROM json_each(?) AS w CROSS JOIN tunasync_jobs AS j "
    "WHERE j.worker = json_extract(w.value, '$[0]') AND j.mirror = json_extract(w.value, '$[1]')",
    "postgresql": "SELECT j.worker, j.mirror, j.document FROM json_array_elements(CAST(%s AS JSON)) AS w(value) "
    "JOIN tunasync_jobs AS j ON j.worker = w.value ->> 0 AND j.mirror = w.value ->> 1",
}
"""The jobs of a list of pairs, each found by its key: a worker can have a thousand others."""


class Post(NamedTuple):
    """A status of a Go worker's mirror as it came, `at` in nanoseconds by the manager's clock."""

    worker: str
    mirror: str
    found: Message
    at: int


PostResult = dict[str, Any] | RejectedRequest
"""What a post is answered: the job as it is stored now, or why it is refused."""


class BatchOutcome(NamedTuple):
    """What became of a batch: the deliveries' answers, and the posts' in the same order."""

    kept: AcceptedDeliveries
    told: list[PostResult]


def apply_in(tx: Connection, deliveries: Sequence[Delivery], posts: Sequence[Post]) -> BatchOutcome:
    """Keep both kinds in a transaction; the answers are true once it has been committed."""
    known = _JobBatch(tx, posts)
    told = [known.tell(post) for post in posts]
    kept = store.apply_in(tx, [*deliveries, *known.deliveries()])
    _write(tx, known)
    return BatchOutcome(AcceptedDeliveries(kept.answers[: len(deliveries)], kept.news), told)


class _JobBatch:
    """What is known of the workers and jobs of a batch, altered post by post."""

    def __init__(self, tx: Connection, posts: Sequence[Post]) -> None:
        workers = {post.worker for post in posts}
        self._journals = dict(map(tuple, select_of(tx, tables.workers, ("name", "journal"), "name", workers)))
        rows = select_of(tx, tables.journals, ("worker", "journal", "acknowledged"), "worker", workers)
        self._numbers: dict[str, int] = {row[0]: int(row[2]) for row in rows if row[1] == TUNASYNC}
        self.jobs = _jobs(tx, {(post.worker, post.mirror) for post in posts})
        self.changed: set[tuple[str, str]] = set()
        self.seen: dict[str, int] = {}
        self._reports: dict[str, list[Report]] = {}

    def tell(self, post: Post) -> PostResult:
        """Alter the job that a post is about."""
        worker, mirror, found, at = post
        try:
            tunasync_store.require_of_go(worker, self._journals.get(worker))
            before = self.jobs.get((worker, mirror)) or tunasync_rules.new_job(worker, mirror)
            number = self._numbers.get(worker, 0) + 1
            job = tunasync_rules.told(before, found, stamp(at), number)
        except RejectedRequest as refusal:
            return refusal
        self.jobs[worker, mirror] = job
        self.changed.add((worker, mirror))
        self._numbers[worker] = number
        self.seen[worker] = at
        report = Report(number, at / 1e9, CHANGE, (tunasync_rules.status_of(job),))
        self._reports.setdefault(worker, []).append(report)
        return job.told

    def deliveries(self) -> list[Delivery]:
        """The posts as one envelope for each worker, the way in which our own workers report."""
        return [
            Delivery(Envelope(worker, TUNASYNC, at / 1e9, "", None, 0, 0, (), tuple(self._reports[worker])), at / 1e9)
            for worker, at in self.seen.items()
        ]


def _jobs(tx: Connection, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], TunasyncJob]:
    """The jobs that can be read; one that cannot begins again with what is posted next."""
    if not wanted:
        return {}
    found: dict[tuple[str, str], TunasyncJob] = {}
    text = _JOBS[tx.dialect.name]
    for row in tx.exec_driver_sql(text, (json.dumps([list(key) for key in wanted]),)):
        for job in corruption.sound([partial(tunasync_rows.read, *row)]):
            found[row[0], row[1]] = job
    return found


def _write(tx: Connection, known: _JobBatch) -> None:
    tunasync_rows.write(tx, [known.jobs[key] for key in sorted(known.changed)])
    if known.seen:
        tx.exec_driver_sql(_SEEN[tx.dialect.name], [(stamp(at), worker) for worker, at in known.seen.items()])
