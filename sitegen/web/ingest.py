"""Keeping what workers send: one thread that commits whatever has queued up, many requests to a commit.

While a commit waits for the disk the next requests queue up, so the slower the disk, the larger the batch. What comes
in one turn of the event loop is handed over together, so that the thread does not begin with the first of many.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import Acknowledgement, Delivery
from sitegen.storage import batch
from sitegen.storage.batch import Change, Changed, PendingWrite
from sitegen.storage.store import Store, StoreError
from sitegen.storage.tunasync_posts import Post
from sitegen.web.db_timeout import PATIENCE
from sitegen.web.pending_reports import Answered, Batch, NotKept, Result, Room, Waiting

LARGEST_BATCH = 500
"""Requests in one transaction at most, so that a storm cannot make anybody wait for minutes."""

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Ingest:
    """The writer. `announce` is called, in the writer's thread, after each commit that alters a page."""

    def __init__(self, store: Store, announce: Callable[[], None]) -> None:
        self._store = store
        self._announce = announce
        self._queue: queue.SimpleQueue[list[Waiting] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ingest")
        self._room: Room | None = None
        self.commits = 0
        self.deliveries = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()

    async def keep(self, delivery: Delivery) -> Acknowledgement:
        """Wait until the delivery is on disk; NotKept when it could not be put there, or not in time."""
        return cast(Acknowledgement, await self._kept(delivery))

    async def post(self, post: Post) -> dict[str, Any]:
        """Wait until the status of a Go worker is on disk; returns the job as it is stored. NotKept or Refused."""
        return cast(dict[str, Any], await self._kept(post))

    async def change(self, worker: str, work: Callable[..., T], *arguments: Any) -> T:
        """Wait until something else is on disk that concerns a worker, or all without a name; NotKept or Refused.

        `work` does it: a function of `storage` that takes the transaction before these arguments.
        """
        changed = cast(Changed, await self._kept(Change(worker, lambda tx: work(tx, *arguments))))
        return cast(T, changed.value)

    async def _kept(self, item: PendingWrite) -> Result:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def answered(answer: Result) -> None:
            if future.done():
                return  # the worker hung up; it will send the same again
            if isinstance(answer, NotKept | RejectedRequest | StoreError):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.put(item, answered)
        return await future

    def put(self, delivery: PendingWrite, answered: Answered) -> None:
        """Have a delivery put on disk; `answered` is told that it is there, or that it is not kept. For the event loop.

        What is given up may be committed later all the same; the worker sends it again, and it counts once.
        """
        loop = asyncio.get_running_loop()
        if self._room is None or self._room.loop is not loop:
            self._room = Room(loop, self._queue.put)
        self._room.enter(delivery, answered, PATIENCE)

    def tell(self) -> None:
        """Tell the publisher, and whoever waits, of news that did not come this way."""
        self._announce()

    def _work(self) -> None:
        while (arrived := self._queue.get()) is not None:
            while len(arrived) < LARGEST_BATCH and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    self._queue.put(None)
                    break
                arrived += following
            waiting = [(each, delivery) for each in arrived if (delivery := each.delivery) is not None]
            for start in range(0, len(waiting), LARGEST_BATCH):
                self._commit(waiting[start : start + LARGEST_BATCH])

    def _commit(self, waiting: Batch) -> None:
        """Commit a batch; should one delivery spoil it, commit each alone, so that it spoils only itself."""
        try:
            answers, news = batch.write(self._store, [item for _, item in waiting])
        except StoreError as error:
            _log.error("%s", error)
            _refuse(waiting, f"the manager's database cannot be used now: {error.reason or error.what}")
        except Exception:
            if len(waiting) > 1:
                for item in waiting:
                    self._commit([item])
                return
            _log.exception("A delivery of worker %s could not be kept.", _worker(waiting[0][1]))
            _refuse(waiting, "this delivery could not be kept; the manager's log says why")
        else:
            self.commits += 1
            self.deliveries += len(waiting)
            waiting[0][0].room.answer(waiting, answers)
            if news:
                self._announce()


def _worker(item: PendingWrite) -> str:
    return item.envelope.worker if isinstance(item, Delivery) else item.worker


def _refuse(batch: Batch, why: str) -> None:
    batch[0][0].room.answer(batch, [NotKept(why)] * len(batch))
