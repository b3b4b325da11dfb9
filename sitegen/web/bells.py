"""Waking requests that are held until something happens, without asking the database again and again."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Bells:
    """One bell for each topic; whoever listens hears every ring from then on.

    Only for the event loop's thread, but for one method.
    """

    def __init__(self) -> None:
        self._listening: dict[str, set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    @contextmanager
    def listening(self, topic: str) -> Iterator[asyncio.Event]:
        """An event that is set by every ring; begin to listen before you look."""
        self._loop = asyncio.get_running_loop()
        bell = asyncio.Event()
        if self.closed:
            bell.set()
        listeners = self._listening.setdefault(topic, set())
        listeners.add(bell)
        try:
            yield bell
        finally:
            listeners.discard(bell)
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
