"""Waking requests that are held until something happens, without asking the database again and again."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Bell(asyncio.Event):
    """What one listener waits for; `is_over` once it should wait no more, since too many others came later."""

    is_over = False


class Bells:
    """One bell for each topic; whoever listens hears every ring from then on.

    Only for the event loop's thread, but for one method.
    """

    def __init__(self) -> None:
        self._listening: dict[str, dict[Bell, None]] = {}  # in the order in which they came
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    @contextmanager
    def listening(self, topic: str, most: int | None = None) -> Iterator[Bell]:
        """An event that is set by every ring; begin to listen before you look.

        If `most` listen already, the one that came first is over.
        """
        self._loop = asyncio.get_running_loop()
        bell = Bell()
        if self.closed:
            bell.set()
        listeners = self._listening.setdefault(topic, {})
        if most is not None and len(listeners) >= most:
            first = next(iter(listeners))
            del listeners[first]
            first.is_over = True
            first.set()
        listeners[bell] = None
        try:
            yield bell
        finally:
            listeners.pop(bell, None)
            if not listeners and self._listening.get(topic) is listeners:
                del self._listening[topic]

    def ring(self, *topics: str) -> None:
        """Wake all that listen to one of these topics."""
        for topic in topics:
            for bell in self._listening.get(topic, ()):
                bell.set()

    def ring_from_thread(self, topic: str) -> None:
        """The same from any other thread."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and all that listened
                loop.call_soon_threadsafe(self.ring, topic)

    def count(self, topic: str) -> int:
        """How many are listening to a topic."""
        return len(self._listening.get(topic, ()))

    def close(self) -> None:
        """Wake everybody for good: the server is about to end."""
        self.closed = True
        self.ring(*self._listening)


async def heard(bell: asyncio.Event, until: float) -> bool:
    """Wait for a ring until a moment of the event loop's clock; tells whether there was one, and takes it."""
    try:
        async with asyncio.timeout_at(until):
            await bell.wait()
    except TimeoutError:
        return False
    bell.clear()
    return True
