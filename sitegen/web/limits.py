"""Limits for the requests of one address: their rate (a token bucket) and their number at once.

A client with a valid token has no rate limit, and once its address has its number of requests at once, more are counted
by token. Addresses from which tunasync's workers write have no limit: many workers may be behind one address, and
they do not repeat a rejected report.
"""

import ipaddress
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from schemas.records import ClientLimits
from sitegen.web import access, responses
from sitegen.web.access import Access

REMEMBERED = 10_000
"""Addresses that are kept before those with a full bucket are dropped."""


class Buckets:
    """A token bucket for each address."""

    def __init__(self, limits: ClientLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst = float(limits.rate), float(limits.burst)
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, host: str) -> float:
        """Take one from an address's bucket; returns 0, or for an empty bucket the seconds until it has one."""
        now, key = self._clock(), subscriber(host)
        left = self._filled(key, now)
        if left < 1:
            return (1 - left) / self._rate
        self._left[key] = left - 1, now
        if len(self._left) > REMEMBERED:
            self._drop_full(now)
        return 0.0

    def _filled(self, key: str, now: float) -> float:
        left, at = self._left.get(key, (self._burst, now))
        return min(self._burst, left + (now - at) * self._rate)

    def _drop_full(self, now: float) -> None:
        """Drop the buckets that are full again; if nearly all are in use, drop all, which bounds the memory."""
        busy = {key: value for key, value in self._left.items() if self._filled(key, now) < self._burst}
        self._left = busy if len(busy) < REMEMBERED else {}


def subscriber(host: str) -> str:
    """Return an IPv4 address as it is, an IPv6 address as its /64: one subscriber has a whole one."""
    if ":" not in host:
        return host
    try:
        return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False))
    except ValueError:
        return host


class RateLimit:
    """ASGI middleware that answers 429 beyond the limits."""

    def __init__(self, app: ASGIApp, limits: ClientLimits, who: Access) -> None:
        self._app = app
        self._buckets = Buckets(limits)
        self._most = limits.connections_per_address
        self._under_way: dict[str, int] = {}
        self._who = who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 429."""
        request = Request(scope)
        if self._who.is_unlimited(request):
            await self._app(scope, receive, send)
            return
        client = subscriber(access.client(request))
        wait = self._buckets.wait(client)
        # The token is looked up only beyond a limit, so that a flood of requests without one costs no queries.
        if wait and not await self._who.is_known(request):
            await _too_many(int(wait) + 1)(scope, receive, send)
            return
        if self._under_way.get(client, 0) >= self._most:
            is_known = await self._who.is_known(request)
            client = f"token of {self._who.known_as(request)}"
            if not is_known or self._under_way.get(client, 0) >= self._most:
                await _too_many(1)(scope, receive, send)
                return
        self._under_way[client] = self._under_way.get(client, 0) + 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way[client] -= 1
            if not self._under_way[client]:
                del self._under_way[client]


def _too_many(wait: int) -> Response:
    return responses.error(429, f"too many requests: wait {wait} s", {"Retry-After": str(wait)})
