"""The first step of every request: checks `Host`, finds the client's address, and takes the shortcut for reports."""

import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, cast

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from sitegen.messages.envelope import RejectedRequest
from sitegen.web import responses
from sitegen.web.access import Access
from sitegen.web.addresses import unmapped
from sitegen.web.api_reports import PATH, ReportsApi
from sitegen.web.tunasync_writes import TunasyncWrites

_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
"""A host and a port (RFC 3986, section 3.2.2)."""

_JOB = re.compile(r"/workers/([^/]+)/jobs/([^/]+)")
"""The path to which tunasync's workers post statuses."""

_CLOSE = (b"connection", b"close")


class Front:
    """The application as the server calls it. `proxies` are networks whose `X-Forwarded-For` is trusted."""

    def __init__(
        self,
        application: Starlette,
        reports: ReportsApi,
        access: Access,
        proxies: Sequence[str],
        statuses: TunasyncWrites | None = None,
    ) -> None:
        self.application = application
        self._behind: ASGIApp = application
        if proxies:
            proxied: Any = application  # Starlette and uvicorn have types of their own for ASGI
            self._behind = cast(ASGIApp, ProxyHeadersMiddleware(proxied, trusted_hosts=list(proxies)))
        self._reports = reports
        self._statuses = statuses
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])  # serve has switched websockets and lifespan events off
        try:
            if _wants_upgrade(scope):
                send = _closing(send)
        except RejectedRequest as problem:
            await responses.error(problem.status, problem.why, {"Connection": "close"})(scope, receive, send)
            return
        # Before the limits see it, so that one client has one address on IPv4 and IPv6 sockets.
        if scope["client"]:
            scope["client"] = unmapped(scope["client"][0]), scope["client"][1]
        if scope["method"] == "POST":
            request = Request(scope, receive)
            take = self._shortcut(request, scope["path"])
            if take is not None:
                await _answer(request, take, send)
                return
        await self._behind(scope, receive, send)

    def _shortcut(self, request: Request, path: str) -> Callable[[], Awaitable[Response]] | None:
        """Return a handler for the most frequent requests, which skips rate limits and routing; None for others.

        They are reports of a worker whose token is cached, and statuses from a listed address.
        """
        if path == PATH:
            worker = self._access.remembered_worker(request)
            return None if worker is None else partial(self._reports.answer, request, worker)
        if self._statuses is None or not path.startswith("/workers/"):
            return None
        job = _JOB.fullmatch(path)
        if job is None or not self._access.is_plain_tunasync(request):
            return None
        return partial(self._statuses.take, request, job[1], job[2])


async def _answer(request: Request, take: Callable[[], Awaitable[Response]], send: Send) -> None:
    """Send the answer of a handler, or for an exception the answer that the application would send."""
    try:
        answer = await take()
    except Exception as problem:
        answer = await responses.of(request, problem)
        await answer(request.scope, request.receive, send)
        if not responses.is_expected(problem):
            raise
        return
    await answer(request.scope, request.receive, send)


def _wants_upgrade(scope: Scope) -> bool:
    """Return whether the client asks for an upgrade; RejectedRequest (400) unless it sends one valid `Host`.

    No upgrade is made. But the parser does not read what follows such a head as a body, so the request must have none,
    and the connection closes after the answer.
    """
    hosts, upgrades = [], False
    for name, value in scope["headers"]:
        if name == b"host":
            hosts.append(value)
        elif name == b"connection" and b"upgrade" in value.lower():
            upgrades = True
    # HTTP/1.0 has no `Host`; from 1.1 on exactly one is required (RFC 9112, section 3.2).
    least = 0 if scope["http_version"] == "1.0" else 1
    if not least <= len(hosts) <= 1:
        raise RejectedRequest(400, "the request must have one `Host` header")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise RejectedRequest(400, "the `Host` header is not valid")
    if upgrades and scope["method"] not in ("GET", "HEAD"):
        raise RejectedRequest(400, "`Upgrade` is not supported, and not allowed in a request with a body")
    return upgrades


def _closing(send: Send) -> Send:
    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], _CLOSE]}
        await send(message)

    return closing
