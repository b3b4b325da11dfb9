"""Writes everything that is queued in one transaction, in the order of arrival.

Adjacent reports and statuses of tunasync's workers are written together. Any other change is done by itself. A rejected
one changes nothing and does not affect the others.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection

from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import Delivery, DeliveryAcknowledgement
from sitegen.storage import tunasync_posts
from sitegen.storage.corruption import Damaged
from sitegen.storage.database import number
from sitegen.storage.store import Store
from sitegen.storage.tunasync_posts import Post, PostResult


class Change(NamedTuple):
    """Any other write; `worker` is the worker it concerns, empty for all.

    `work` does it in a transaction, or raises RejectedRequest or Damaged before it has written anything: with a
    savepoint SQLite would copy every page to a temporary file.
    """

    worker: str
    work: Callable[[Connection], Any]


class Changed(NamedTuple):
    """The return value of a change."""

    value: Any


PendingWrite = Delivery | Post | Change
"""Anything that can be queued for writing."""

WriteResult = DeliveryAcknowledgement | PostResult | Changed | Damaged
"""The outcome: a worker's acknowledgement, a job as stored now, a change's return value, or why it failed."""


class CommittedBatch(NamedTuple):
    """A committed batch: the results in the order of the items, and whether any page must change."""

    results: Sequence[WriteResult]
    news: bool


def write(store: Store, items: Sequence[PendingWrite]) -> CommittedBatch:
    """Write a batch. The results are committed when this returns."""
    # Most batches are of this kind, and need no grouping.
    if all(isinstance(item, Delivery) for item in items):
        kept = store.apply([item for item in items if isinstance(item, Delivery)])
        return CommittedBatch(kept.answers, kept.news)
    results: list[WriteResult] = []
    news = False
    with store.transaction(writing=True) as tx:
        for is_change, group in groupby(items, lambda item: isinstance(item, Change)):
            neighbours = list(group)
            part = _changes(tx, neighbours) if is_change else _together(tx, neighbours)
            results += part.results
            news = news or part.news
    return CommittedBatch(results, news)


def _changes(tx: Connection, items: Iterable[PendingWrite]) -> CommittedBatch:
    before = number(tx, "changes")
    results = [_changed(tx, item.work) for item in items if isinstance(item, Change)]
    return CommittedBatch(results, number(tx, "changes") != before)


def _changed(tx: Connection, work: Callable[[Connection], Any]) -> WriteResult:
    try:
        return Changed(work(tx))
    except (RejectedRequest, Damaged) as problem:
        return problem


def _together(tx: Connection, items: Sequence[PendingWrite]) -> CommittedBatch:
    """Write reports, then statuses. The order between them is free, because no worker sends both."""
    posts = [item for item in items if isinstance(item, Post)]
    deliveries = [item for item in items if isinstance(item, Delivery)]
    kept, jobs = tunasync_posts.apply_in(tx, deliveries, posts)
    answers: tuple[Iterator[WriteResult], Iterator[WriteResult]] = iter(kept.answers), iter(jobs)
    return CommittedBatch([next(answers[isinstance(item, Post)]) for item in items], kept.news)
