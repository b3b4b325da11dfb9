"""Keeping what workers send: one thread that commits whatever has queued up, many requests to a commit.

While a commit waits for the disk the next requests queue up, so the slower the disk, the larger the batch. What comes
in one turn of the event loop is handed over together, so that the thread does not begin with the first of many.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, cast

from sitegen.messages.envelope import Refused
from sitegen.messages.model import Answer, Delivery
from sitegen.storage import tunasync_posts
from sitegen.storage.store import Store, StoreError
from sitegen.storage.tunasync_posts import Post
from sitegen.web.patience import PATIENCE
from sitegen.web.waiting import Answered, Batch, Item, NotKept, Result, Room, Waiting

LARGEST_BATCH = 500
"""Requests in one transaction at most, so that a storm cannot make anybody wait for minutes."""

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

    async def keep(self, delivery: Delivery) -> Answer:
        """Wait until the delivery is on disk; NotKept when it could not be put there, or not in time."""
        return cast(Answer, await self._kept(delivery))

    async def post(self, post: Post) -> dict[str, Any]:
        """Wait until the status of a Go worker is on disk; returns the job as it is stored. NotKept or Refused."""
        return cast(dict[str, Any], await self._kept(post))

    async def _kept(self, item: Item) -> Result:
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def answered(answer: Result) -> None:
            if future.done():
                return  # the worker hung up; it will send the same again
            if isinstance(answer, NotKept | Refused):
                future.set_exception(answer)
            else:
                future.set_result(answer)

        self.put(item, answered)
        return await future

    def put(self, delivery: Item, answered: Answered) -> None:
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
            batch = [(waiting, delivery) for waiting in arrived if (delivery := waiting.delivery) is not None]
            for start in range(0, len(batch), LARGEST_BATCH):
                self._commit(batch[start : start + LARGEST_BATCH])

    def _commit(self, batch: Batch) -> None:
        """Commit a batch; should one delivery spoil it, commit each alone, so that it spoils only itself."""
        try:
            answers, news = self._apply([delivery for _, delivery in batch])
        except StoreError as error:
            _log.error("%s", error)
            _refuse(batch, f"the manager's database cannot be used now: {error.reason or error.what}")
        except Exception:
            if len(batch) > 1:
                for item in batch:
                    self._commit([item])
                return
            _log.exception("A delivery of worker %s could not be kept.", _worker(batch[0][1]))
            _refuse(batch, "this delivery could not be kept; the manager's log says why")
        else:
            self.commits += 1
            self.deliveries += len(batch)
            batch[0][0].room.answer(batch, answers)
            if news:
                self._announce()

    def _apply(self, items: Sequence[Item]) -> tuple[Sequence[Result], bool]:
        """Commit a batch; returns the answers in the same order, and whether any page has to change."""
        posts = [item for item in items if isinstance(item, Post)]
        deliveries = [item for item in items if isinstance(item, Delivery)]
        if not posts:
            kept = self._store.apply(deliveries)
            return kept.answers, kept.news
        kept, told = tunasync_posts.apply(self._store, deliveries, posts)
        answers: tuple[Iterator[Result], Iterator[Result]] = iter(kept.answers), iter(told)
        return [next(answers[isinstance(item, Post)]) for item in items], kept.news


def _worker(item: Item) -> str:
    return item.worker if isinstance(item, Post) else item.envelope.worker


def _refuse(batch: Batch, why: str) -> None:
    batch[0][0].room.answer(batch, [NotKept(why)] * len(batch))
