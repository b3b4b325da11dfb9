"""Keeping what workers send: one thread that commits whatever has queued up, many requests to a commit.

While a commit waits for the disk the next requests queue up, so the slower the disk, the larger the batch.
"""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from sitegen.model import Answer, Delivery
from sitegen.patience import PATIENCE, NotAnswered
from sitegen.store import Store, StoreError

LARGEST_BATCH = 500
"""Requests in one transaction at most, so that a storm cannot make anybody wait for minutes."""

_log = logging.getLogger(__name__)


class NotKept(Exception):  # noqa: N818 - it is what happened to the delivery
    """The delivery could not be committed; the worker has to send it again."""


class _Waiting(NamedTuple):
    delivery: Delivery
    answer: asyncio.Future[Answer]


class Ingest:
    """The writer. `announce` is called, in the writer's thread, after each commit that alters a page."""

    def __init__(self, store: Store, announce: Callable[[], None]) -> None:
        self._store = store
        self._announce = announce
        self._queue: queue.SimpleQueue[list[_Waiting] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="ingest")
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
        """Wait until the delivery is on disk; NotKept when it could not be put there, or not in time.

        What is given up may be committed later all the same; the worker sends it again, and it counts once.
        """
        waiting = [_Waiting(delivery, asyncio.get_running_loop().create_future())]
        self._queue.put(waiting)
        try:
            async with asyncio.timeout(PATIENCE):
                return await waiting[0].answer
        except TimeoutError as error:
            waiting.clear()  # what nobody waits for any more is neither kept in memory nor begun
            why = f"the manager's database cannot be used now: {NotAnswered().reason}; send it again"
            raise NotKept(why) from error

    def tell(self) -> None:
        """Tell the publisher, and whoever waits, of news that did not come this way."""
        self._announce()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = list(first)
            while len(batch) < LARGEST_BATCH and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    self._queue.put(None)
                    break
                batch += following
            if batch:
                self._commit(batch)

    def _commit(self, batch: Sequence[_Waiting]) -> None:
        """Commit a batch; should one delivery spoil it, commit each alone, so that it spoils only itself."""
        try:
            kept = self._store.apply([item.delivery for item in batch])
        except StoreError as error:
            _log.error("%s", error)
            _answer(batch, NotKept(f"the manager's database cannot be used now: {error.reason or error.what}"))
        except Exception:
            if len(batch) > 1:
                for item in batch:
                    self._commit([item])
                return
            _log.exception("A delivery of worker %s could not be kept.", batch[0].delivery.envelope.worker)
            _answer(batch, NotKept("this delivery could not be kept; the manager's log says why"))
        else:
            self._count(len(batch))
            _answer(batch, kept.answers)
            if kept.news:
                self._announce()

    def _count(self, deliveries: int) -> None:
        self.commits += 1
        self.deliveries += deliveries


def _answer(batch: Sequence[_Waiting], answers: Sequence[Answer] | NotKept) -> None:
    """Hand the answers, or the same refusal for all, to the event loop."""
    batch[0].answer.get_loop().call_soon_threadsafe(_resolve, batch, answers)


def _resolve(batch: Sequence[_Waiting], answers: Sequence[Answer] | NotKept) -> None:
    for place, item in enumerate(batch):
        if item.answer.done():
            continue  # the worker hung up; it will send the same again
        if isinstance(answers, NotKept):
            item.answer.set_exception(answers)
        else:
            item.answer.set_result(answers[place])
