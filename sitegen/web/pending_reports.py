"""Deliveries that wait in an event loop for the writer's thread, and their timeouts."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from sitegen.storage import batch
from sitegen.storage.batch import PendingWrite
from sitegen.web.db_timeout import NotAnswered


class NotKept(Exception):  # noqa: N818 - it is what happened to the delivery
    """The delivery could not be committed; the worker has to send it again."""


DeliveryResult = batch.WriteResult | NotKept
"""The result of storing an item."""

OnResult = Callable[[DeliveryResult], None]
"""Called in the event loop's thread with the result."""


class PendingDelivery:
    """A delivery until it is answered, by the time `until` of the event loop's clock."""

    __slots__ = ("_answered", "delivery", "pending", "until")

    def __init__(self, pending: "PendingDeliveries", delivery: PendingWrite, answered: OnResult, until: float) -> None:
        self.pending = pending
        self.delivery: PendingWrite | None = delivery
        self.until = until
        self._answered = answered

    def answer(self, answer: DeliveryResult) -> None:
        """Pass on the first result. The delivery is then dropped: it needs no memory, and the writer skips it."""
        if self.delivery is not None:
            self.delivery = None
            self._answered(answer)


Batch = Sequence[tuple[PendingDelivery, PendingWrite]]
"""Deliveries of one commit, in the order of their arrival."""


class PendingDeliveries:
    """The pending deliveries of one event loop. Only for its thread, except `answer`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hand_over: Callable[[list[PendingDelivery]], None]) -> None:
        self.loop = loop
        self._hand_over = hand_over
        self._arrived: list[PendingDelivery] = []
        self._unanswered: deque[PendingDelivery] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, delivery: PendingWrite, answered: OnResult, patience: float) -> None:
        """Add a delivery with a timeout in seconds. Those of one turn of the loop are handed over together."""
        waiting = PendingDelivery(self, delivery, answered, self.loop.time() + patience)
        self._unanswered.append(waiting)
        if self._timer is None:
            self._timer = self.loop.call_at(waiting.until, self._time_out)
        if not self._arrived:
            self.loop.call_soon(self._hand_over_arrived)
        self._arrived.append(waiting)

    def answer(self, batch: Batch, answers: Sequence[DeliveryResult]) -> None:
        """Answer a batch, from any thread."""
        with suppress(RuntimeError):  # the loop has ended, and with it all requests
            self.loop.call_soon_threadsafe(self._resolve, batch, answers)

    def _hand_over_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        self._hand_over(arrived)

    def _resolve(self, batch: Batch, answers: Sequence[DeliveryResult]) -> None:
        for (waiting, _), answer in zip(batch, answers, strict=True):
            waiting.answer(answer)
        while self._unanswered and self._unanswered[0].delivery is None:
            self._unanswered.popleft()

    def _time_out(self) -> None:
        """Answer the deliveries whose time is up. One timer is enough, since they time out in order."""
        refusal = NotKept(f"cannot use the manager's database: {NotAnswered().reason}. Send the report again")
        while self._unanswered and self._unanswered[0].until <= self.loop.time():
            self._unanswered.popleft().answer(refusal)
        next_at = self._unanswered[0].until if self._unanswered else None
        self._timer = None if next_at is None else self.loop.call_at(next_at, self._time_out)
