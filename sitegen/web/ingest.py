"""Stores what workers send: one thread commits all queued requests at once.

While a commit waits for the disk, the next requests queue up, so a slower disk makes larger batches. Requests of one
turn of the event loop are queued together, so that the thread does not begin with the first one alone.
"""

import asyncio
import logging
import queue
from collections.abc import Callable
from typing import Any, TypeVar, cast

from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import Delivery, DeliveryAcknowledgement
from sitegen.scoped_thread import ScopedThread
from sitegen.storage import batch
from sitegen.storage.batch import Change, Changed, PendingWrite
from sitegen.storage.store import Store, StoreError
from sitegen.storage.tunasync_posts import Post
from sitegen.web.db_timeout import PATIENCE
from sitegen.web.pending_reports import Batch, DeliveryResult, NotKept, PendingDeliveries, PendingDelivery

LARGEST_BATCH = 500
"""Requests in one transaction at most, so that in a burst no request waits for minutes."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Ingest(ScopedThread):
    """The writer's thread, from enter to exit. It calls `announce` after each commit that changes a page."""

    def __init__(self, store: Store, announce: Callable[[], None]) -> None:
        # Not a daemon: what is queued at the end is still committed.
        super().__init__("ingest", daemon=False)
        self._store = store
        self._announce = announce
        self._queue: queue.SimpleQueue[list[PendingDelivery] | None] = queue.SimpleQueue()
        self._pending: PendingDeliveries | None = None
        self.commits = 0
        self.deliveries = 0

    async def keep(self, delivery: Delivery) -> DeliveryAcknowledgement:
        """Wait until a delivery is on disk; NotKept when it could not be stored, or not in time."""
        return cast(DeliveryAcknowledgement, await self._kept(delivery))

    async def post(self, post: Post) -> dict[str, Any]:
        """Wait until the status of a Go worker is on disk; returns the stored job. NotKept or RejectedRequest."""
        return cast(dict[str, Any], await self._kept(post))

    async def change(self, worker: str, work: Callable[..., T], *arguments: Any) -> T:
        """Wait until another change is on disk, of one worker or with an empty name of all; NotKept or RejectedRequest.

        `work` makes it: a function of `storage` that takes the transaction before these arguments.
        """
        changed = cast(Changed, await self._kept(Change(worker, lambda tx: work(tx, *arguments))))
        return cast(T, changed.value)

    async def _kept(self, item: PendingWrite) -> DeliveryResult:
        """Queue an item and wait for the result.

        After a timeout it may still be committed. The worker then sends it again, and it counts once.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[DeliveryResult] = loop.create_future()

        def answered(answer: DeliveryResult) -> None:
            if future.done():
                return  # the client disconnected; a worker sends the same again
            if isinstance(answer, NotKept | RejectedRequest | StoreError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        if self._pending is None or self._pending.loop is not loop:
            self._pending = PendingDeliveries(loop, self._queue.put)
        self._pending.add(item, answered, PATIENCE)
        return await future

    def announce(self) -> None:
        """Notify the publisher and held requests of a change that was committed elsewhere."""
        self._announce()

    def _end(self) -> None:
        self._queue.put(None)

    def _work(self) -> None:
        while (arrived := self._queue.get()) is not None:
            while len(arrived) < LARGEST_BATCH and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    self._queue.put(None)  # for the outer loop, after this batch
                    break
                arrived += following
            waiting = [(each, delivery) for each in arrived if (delivery := each.delivery) is not None]
            for start in range(0, len(waiting), LARGEST_BATCH):
                self._commit(waiting[start : start + LARGEST_BATCH])

    def _commit(self, waiting: Batch) -> None:
        """Commit a batch. If one delivery makes that fail by a bug, commit each alone, so that only that one fails."""
        try:
            answers, news = batch.write(self._store, [item for _, item in waiting])
        except StoreError as error:
            _log.error("%s", error)
            _refuse(waiting, f"cannot use the manager's database: {error.reason or error.what}")
        except Exception:
            if len(waiting) > 1:
                for item in waiting:
                    self._commit([item])
                return
            _log.exception("cannot store a delivery of worker %s: this is a bug", _worker(waiting[0][1]))
            _refuse(waiting, "cannot store this delivery: see the manager's log")
        else:
            self.commits += 1
            self.deliveries += len(waiting)
            waiting[0][0].pending.answer(waiting, answers)
            if news:
                self._announce()


def _worker(item: PendingWrite) -> str:
    return item.envelope.worker if isinstance(item, Delivery) else item.worker


def _refuse(batch: Batch, why: str) -> None:
    batch[0][0].pending.answer(batch, [NotKept(why)] * len(batch))
