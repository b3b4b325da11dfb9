"""Writes statuses that tunasync's workers post, many to a transaction, together with Skipjack workers' reports.

Posts are applied in the order of arrival. A rejected one changes nothing and does not affect the others.
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

# CROSS JOIN, because SQLite does not reorder it: it then reads each pair by its key, and not the whole table.
_JOBS = {
    "sqlite": "SELECT j.worker, j.mirror, j.document FROM json_each(?) AS w CROSS JOIN tunasync_jobs AS j "
    "WHERE j.worker = json_extract(w.value, '$[0]') AND j.mirror = json_extract(w.value, '$[1]')",
    "postgresql": "SELECT j.worker, j.mirror, j.document FROM json_array_elements(CAST(%s AS JSON)) AS w(value) "
    "JOIN tunasync_jobs AS j ON j.worker = w.value ->> 0 AND j.mirror = w.value ->> 1",
}
"""Select the jobs of a list of pairs, each by its key: the worker can have a thousand others."""


class Post(NamedTuple):
    """A status of a Go worker's mirror as received, `at` in nanoseconds by the manager's clock."""

    worker: str
    mirror: str
    found: Message
    at: int


PostResult = dict[str, Any] | RejectedRequest
"""The answer to a post: the job as stored now, or why it was rejected."""


class BatchOutcome(NamedTuple):
    """The outcome of a batch: the deliveries' answers, and the posts' in the same order."""

    kept: AcceptedDeliveries
    results: list[PostResult]


def apply_in(tx: Connection, deliveries: Sequence[Delivery], posts: Sequence[Post]) -> BatchOutcome:
    """Write both kinds in a transaction. The answers are valid once it is committed."""
    known = _JobBatch(tx, posts)
    results = [known.apply(post) for post in posts]
    kept = store.apply_in(tx, [*deliveries, *known.deliveries()])
    _write(tx, known)
    return BatchOutcome(AcceptedDeliveries(kept.answers[: len(deliveries)], kept.news), results)


class _JobBatch:
    """The workers and jobs of a batch, changed post by post."""

    def __init__(self, tx: Connection, posts: Sequence[Post]) -> None:
        workers = {post.worker for post in posts}
        self._journals = dict(map(tuple, select_of(tx, tables.workers, ("name", "journal"), "name", workers)))
        rows = select_of(tx, tables.journals, ("worker", "journal", "acknowledged"), "worker", workers)
        self._numbers: dict[str, int] = {row[0]: int(row[2]) for row in rows if row[1] == TUNASYNC}
        self.jobs = _jobs(tx, {(post.worker, post.mirror) for post in posts})
        self.changed: set[tuple[str, str]] = set()
        self.seen: dict[str, int] = {}
        self._reports: dict[str, list[Report]] = {}

    def apply(self, post: Post) -> PostResult:
        """Apply a post to its job."""
        worker, mirror, found, at = post
        try:
            tunasync_store.require_of_go(worker, self._journals.get(worker))
            before = self.jobs.get((worker, mirror)) or tunasync_rules.new_job(worker, mirror)
            number = self._numbers.get(worker, 0) + 1
            job = tunasync_rules.after_status(before, found, stamp(at), number)
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
        """Return the posts as one envelope for each worker, as Skipjack's workers report."""
        return [
            Delivery(Envelope(worker, TUNASYNC, at / 1e9, "", None, 0, 0, (), tuple(self._reports[worker])), at / 1e9)
            for worker, at in self.seen.items()
        ]


def _jobs(tx: Connection, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], TunasyncJob]:
    """Read jobs. One that cannot be decoded is left out, and starts again with its next post."""
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
