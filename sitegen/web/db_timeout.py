"""Waiting for the database, but not for ever: whoever asks us gets an answer while it stands still.

A database that hangs says nothing, so only the clock tells. What goes on in a thread goes on; it is only that nobody
waits for it any more.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from starlette.requests import Request
from starlette.responses import Response

from sitegen.storage.database import StoreError

PATIENCE = 10.0
"""Seconds that one question to the database may take. A worker gives its request up after 30 and would learn nothing;
a transaction of ours takes milliseconds."""

THREADS = 40
"""Questions at once. While all of them hang others wait for a thread as long as for an answer, and no longer."""

P = ParamSpec("P")
T = TypeVar("T")


class NotAnswered(StoreError):  # noqa: N818 - it is what happened to the question
    """The database has not answered in time; what was to be written may be there all the same."""

    def __init__(self) -> None:
        self.reason = self.public = f"it has not answered for {PATIENCE:g} s"
        super().__init__(
            f"The manager's database cannot be used now: {self.reason}.",
            "Check the database and its disk or network; it is asked again with every request.",
        )


class _Threads:
    """The threads of one event loop."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "database")
        self._free = asyncio.Semaphore(THREADS)

    async def run(self, work: Callable[[], T]) -> T:
        await self._free.acquire()
        running = asyncio.get_running_loop().run_in_executor(self._pool, work)
        running.add_done_callback(self._ended)
        return await asyncio.shield(running)

    def _ended(self, running: "asyncio.Future[T]") -> None:
        """A thread is free only now, however long ago its question was given up."""
        self._free.release()
        if not running.cancelled():
            running.exception()  # it is nobody's any more if it was given up


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Threads] = WeakKeyDictionary()


async def in_thread(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Let a thread do what asks the database; NotAnswered when that takes longer than PATIENCE."""
    threads = _of_loop.setdefault(asyncio.get_running_loop(), _Threads())
    try:
        async with asyncio.timeout(PATIENCE):
            return await threads.run(functools.partial(work, *arguments, **named))
    except TimeoutError as error:
        raise NotAnswered from error


def patient(handler: Callable[[Request], Any]) -> Callable[[Request], Awaitable[Response]]:
    """A route's handler for the event loop: what is a plain function is done in a thread."""
    if asyncio.iscoroutinefunction(handler):
        return handler

    @functools.wraps(handler)
    async def threaded(request: Request) -> Response:
        answer: Response = await in_thread(handler, request)
        return answer

    return threaded
