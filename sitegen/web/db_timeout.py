"""Queries with a timeout, so that requests are answered even while the database hangs.

A query that hangs cannot be ended from outside, so its thread continues; only the request no longer waits for it.
"""

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from starlette.requests import Request
from starlette.responses import Response

from sitegen.storage.database import StoreError

PATIENCE = 10.0
"""Seconds that a query may take. A transaction takes milliseconds, and a worker abandons its request after 30 s."""

THREADS = 40
"""Queries at once. While all of them hang, further ones wait for a thread, within the same timeout."""

P = ParamSpec("P")
T = TypeVar("T")


class NotAnswered(StoreError):  # noqa: N818 - it is what happened to the query
    """The database has not answered in time. A write may still be carried out."""

    def __init__(self) -> None:
        self.reason = self.public = f"it has not answered for {PATIENCE:g} s"
        super().__init__(
            f"cannot use the database: {self.reason}.",
            "Check the database and its disk or network. Each request tries it again.",
        )


class _Threads:
    """The threads of one event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "database")
        self._free = asyncio.Semaphore(THREADS)

    async def run(self, work: Callable[[], T]) -> T:
        # Not in the queue of the pool: there, requests that have given up would keep their place.
        await self._free.acquire()
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        running.add_done_callback(self._ended)
        # A timeout ends the wait, but not the query: the thread is free only when that ends.
        return await asyncio.shield(running)

    def _ended(self, running: "asyncio.Future[T]") -> None:
        """Free the thread: only now, even if its request was answered long ago."""
        self._free.release()
        if not running.cancelled():
            running.exception()  # marks it as retrieved: after a timeout nothing else does


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Threads] = WeakKeyDictionary()


async def in_thread(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run a function that queries the database in a thread; NotAnswered after PATIENCE."""
    threads = _of_loop.setdefault(asyncio.get_running_loop(), _Threads())
    try:
        async with asyncio.timeout(PATIENCE):
            return await threads.run(functools.partial(work, *arguments, **named))
    except TimeoutError as error:
        raise NotAnswered from error


def patient(handler: Callable[[Request], Any]) -> Callable[[Request], Awaitable[Response]]:
    """Return a route's handler as a coroutine function; a plain function runs in a thread."""
    if inspect.iscoroutinefunction(handler):
        return handler

    @functools.wraps(handler)
    async def threaded(request: Request) -> Response:
        answer: Response = await in_thread(handler, request)
        return answer

    return threaded
