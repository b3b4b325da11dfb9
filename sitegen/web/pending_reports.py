"""Who waits in an event loop for what a thread does, and is answered in turn, or told that it takes too long."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from sitegen.storage import batch
from sitegen.storage.batch import PendingWrite
from sitegen.web.db_timeout import NotAnswered


class NotKept(Exception):  # noqa: N818 - it is what happened to the delivery
    """The delivery could not be committed; the worker has to send it again."""


Result = batch.WriteResult | NotKept
"""What became of an item."""

Answered = Callable[[Result], None]
"""Is called in the event loop's thread with what became of a delivery."""


class Waiting:
    """A delivery until it is answered, at the moment `until` of the event loop's clock at the latest."""

    __slots__ = ("_answered", "delivery", "room", "until")

    def __init__(self, room: "Room", delivery: PendingWrite, answered: Answered, until: float) -> None:
        self.room = room
        self.delivery: PendingWrite | None = delivery
        self.until = until
        self._answered = answered

    def answer(self, answer: Result) -> None:
        """Tell once; what is answered is neither kept in memory nor begun any more."""
        if self.delivery is not None:
            self.delivery = None
            self._answered(answer)


Batch = Sequence[tuple[Waiting, PendingWrite]]
"""What was begun together, in the order in which it came."""


class Room:
    """Those who wait in one event loop. Only for its thread, but for `answer`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hand_over: Callable[[list[Waiting]], None]) -> None:
        self.loop = loop
        self._hand_over = hand_over
        self._arrived: list[Waiting] = []
        self._unanswered: deque[Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, delivery: PendingWrite, answered: Answered, patience: float) -> None:
        """Wait for so many seconds. Those who come in the same turn of the loop are handed over together."""
        waiting = Waiting(self, delivery, answered, self.loop.time() + patience)
        self._unanswered.append(waiting)
        if self._timer is None:
            self._timer = self.loop.call_at(waiting.until, self._give_up)
        if not self._arrived:
            self.loop.call_soon(self._hand_over_arrived)
        self._arrived.append(waiting)

    def answer(self, batch: Batch, answers: Sequence[Result]) -> None:
        """Have a batch answered; from any thread."""
        with suppress(RuntimeError):  # the loop has ended, and all that waited
            self.loop.call_soon_threadsafe(self._resolve, batch, answers)

    def _hand_over_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        self._hand_over(arrived)

    def _resolve(self, batch: Batch, answers: Sequence[Result]) -> None:
        for (waiting, _), answer in zip(batch, answers, strict=True):
            waiting.answer(answer)
        while self._unanswered and self._unanswered[0].delivery is None:
            self._unanswered.popleft()

    def _give_up(self) -> None:
        """Answer those that have waited too long. One timer is enough, since all are answered in turn."""
        refusal = NotKept(f"the manager's database cannot be used now: {NotAnswered().reason}; send it again")
        while self._unanswered and self._unanswered[0].until <= self.loop.time():
            self._unanswered.popleft().answer(refusal)
        next_at = self._unanswered[0].until if self._unanswered else None
        self._timer = None if next_at is None else self.loop.call_at(next_at, self._give_up)
