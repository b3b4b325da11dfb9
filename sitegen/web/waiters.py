"""Wakes held requests when something happens, so that they need not query the database again and again."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Subscription(asyncio.Event):
    """An event that is set by each notification; `is_over` is set when newer subscribers have replaced this one."""

    is_over = False


class Topics:
    """Subscriptions by topic. Only for the event loop's thread, except `notify_from_thread`."""

    def __init__(self) -> None:
        self._subscribed: dict[str, dict[Subscription, None]] = {}  # in the order of their arrival
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    @contextmanager
    def subscribed(self, topic: str, most: int | None = None) -> Iterator[Subscription]:
        """Subscribe to a topic; do so before reading the state, so that no change is missed.

        If there are `most` subscriptions already, the oldest one is over.
        """
        self._loop = asyncio.get_running_loop()
        subscription = Subscription()
        if self.closed:
            subscription.set()
        others = self._subscribed.setdefault(topic, {})
        if most is not None and len(others) >= most:
            oldest = next(iter(others))
            del others[oldest]
            oldest.is_over = True
            oldest.set()
        others[subscription] = None
        try:
            yield subscription
        finally:
            others.pop(subscription, None)
            # Topics without subscriptions are removed, so that names of workers do not pile up.
            if not others and self._subscribed.get(topic) is others:
                del self._subscribed[topic]

    def notify(self, *topics: str) -> None:
        """Wake all subscribers of these topics."""
        for topic in topics:
            for subscription in self._subscribed.get(topic, ()):
                subscription.set()

    def notify_all(self) -> None:
        """Wake all subscribers of all topics."""
        self.notify(*self._subscribed)

    def notify_from_thread(self, topic: str) -> None:
        """Wake all subscribers of a topic from another thread."""
        loop = self._loop
        if loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and with it all subscriptions
                loop.call_soon_threadsafe(self.notify, topic)

    def count(self, topic: str) -> int:
        """Return the number of subscriptions to a topic."""
        return len(self._subscribed.get(topic, ()))

    def close(self) -> None:
        """Wake all subscribers, present and future: the server is about to end."""
        self.closed = True
        self.notify_all()


async def notified(subscription: asyncio.Event, until: float) -> bool:
    """Wait for a notification until a time of the event loop's clock; returns whether one came, and clears it."""
    try:
        async with asyncio.timeout_at(until):
            await subscription.wait()
    except TimeoutError:
        return False
    subscription.clear()
    return True
