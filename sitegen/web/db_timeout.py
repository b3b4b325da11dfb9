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
"""Queries at once. While all of them hang, further ones wait for a thread."""

_SHARE = 0.5
"""Part of the timeout in which a query must get a thread: the rest is for the query itself. Otherwise those in a long
queue would get a thread just before their time is over, and none would be answered."""

FOR_READS = 0.5
"""Part of the threads that reads may have, which need no token: a flood of them leaves the others to workers."""

P = ParamSpec("P")
T = TypeVar("T")


class NotAnswered(StoreError):  # noqa: N818 - it is what happened to the query
    """The database has not answered in time. A write may still be carried out.

    `has_begun` is False for a query that has only waited for the others.
    """

    def __init__(self, *, has_begun: bool = True) -> None:
        self.has_begun = has_begun
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
        self._for_reads = asyncio.Semaphore(max(1, int(THREADS * FOR_READS)))

    async def wait(self, *, is_read: bool) -> None:
        """Wait for a free thread, which `run` then uses."""
        # Not in the queue of the pool: there, requests that have given up would keep their place.
        if not is_read:
            await self._free.acquire()
            return
        await self._for_reads.acquire()
        try:
            await self._free.acquire()
        except BaseException:
            self._for_reads.release()
            raise

    async def run(self, work: Callable[[], T], *, is_read: bool) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        running.add_done_callback(functools.partial(self._ended, is_read=is_read))
        # A timeout ends the wait, but not the query: the thread is free only when that ends.
        return await asyncio.shield(running)

    def _ended(self, running: "asyncio.Future[T]", *, is_read: bool) -> None:
        """Free the thread: only now, even if its request was answered long ago."""
        self._free.release()
        if is_read:
            self._for_reads.release()
        if not running.cancelled():
            running.exception()  # marks it as retrieved: after a timeout nothing else does


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Threads] = WeakKeyDictionary()


async def in_thread(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Run a function that queries the database in a thread; NotAnswered after PATIENCE."""
    return await _in_thread(functools.partial(work, *arguments, **named), is_read=False)


async def read_in_thread(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Do the same for a read that anyone may request."""
    return await _in_thread(functools.partial(work, *arguments, **named), is_read=True)


async def _in_thread(work: Callable[[], T], *, is_read: bool) -> T:
    threads = _of_loop.setdefault(asyncio.get_running_loop(), _Threads())
    has_begun = False
    try:
        async with asyncio.timeout(PATIENCE):
            async with asyncio.timeout(PATIENCE * _SHARE):
                await threads.wait(is_read=is_read)
            has_begun = True
            return await threads.run(work, is_read=is_read)
    except TimeoutError as error:
        raise NotAnswered(has_begun=has_begun) from error


def patient(handler: Callable[[Request], Any]) -> Callable[[Request], Awaitable[Response]]:
    """Return a route's handler as a coroutine function; a plain function, which only reads, runs in a thread."""
    if inspect.iscoroutinefunction(handler):
        return handler

    @functools.wraps(handler)
    async def threaded(request: Request) -> Response:
        answer: Response = await read_in_thread(handler, request)
        return answer

    return threaded
