"""How often one address may ask: a bucket that fills slowly, and from which each request takes one.

Whoever shows a valid token is known and asks as often as it needs to.
"""

import ipaddress
import time
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.records import Limits
from sitegen.web import access, answers

REMEMBERED = 10_000
"""Addresses that are kept in mind before those that were quiet are forgotten."""


class Buckets:
    """What is left for each address."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst = float(limits.rate), float(limits.burst)
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, host: str) -> float:
        """Take one from an address's bucket; gives the seconds to wait when it is empty, 0 when it was not."""
        now, key = self._clock(), subscriber(host)
        left = self._filled(key, now)
        if left < 1:
            return (1 - left) / self._rate
        self._left[key] = left - 1, now
        if len(self._left) > REMEMBERED:
            self._forget(now)
        return 0.0

    def _filled(self, key: str, now: float) -> float:
        left, at = self._left.get(key, (self._burst, now))
        return min(self._burst, left + (now - at) * self._rate)

    def _forget(self, now: float) -> None:
        """Those whose bucket is full again; should all be busy, everybody begins anew."""
        busy = {key: value for key, value in self._left.items() if self._filled(key, now) < self._burst}
        self._left = busy if len(busy) < REMEMBERED else {}


def subscriber(host: str) -> str:
    """An address, or the network that one subscriber has in version 6."""
    if ":" not in host:
        return host
    try:
        return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False))
    except ValueError:
        return host


class RateLimit:
    """Stands before the application."""

    def __init__(self, app: ASGIApp, limits: Limits, is_known: Callable[[Request], Awaitable[bool]]) -> None:
        self._app = app
        self._buckets = Buckets(limits)
        self._is_known = is_known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 429."""
        if scope["type"] == "http":
            request = Request(scope)
            wait = self._buckets.wait(access.client(request))
            if wait and not await self._is_known(request):
                seconds = str(int(wait) + 1)
                refusal = answers.error(429, f"too many requests; wait {seconds} s", {"Retry-After": seconds})
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
