"""Authentication and input of requests: tokens, client addresses, bodies and query parameters."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

from schemas.names import is_name
from schemas.records import ManagerSettings
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import Token
from sitegen.storage.store import Store, StoreError
from sitegen.storage.token_store import OPERATOR, WORKER
from sitegen.web.addresses import Network, contains, networks, unmapped
from sitegen.web.db_timeout import in_thread
from sitegen.web.token_cache import TokenCache

T = TypeVar("T")

SLOWEST = 1024
"""Bytes a second at which a body must arrive on average: a slower client only occupies a connection."""

_REMEMBERED = 1000
"""Listed addresses in the cache; a listed network can have any number."""

_INDIRECT = frozenset({b"origin", b"x-forwarded-for", b"x-forwarded-proto", b"authorization"})
"""Headers of requests from browsers and proxies, or with a token."""


class Access:
    """Finds out who sent a request and what it may do; raises RejectedRequest when it may not."""

    def __init__(self, store: Store, settings: ManagerSettings) -> None:
        self._tokens = TokenCache(store)
        self._body_limit = settings.body_limit
        self._patience = settings.limits.read_timeout
        self._protected = frozenset(settings.protected_reads)
        self._writers = networks(settings.tunasync.writes_from)
        self._listed: set[str] = set()
        self._behind_proxy = bool(settings.trusted_proxies)

    def token(self, request: Request) -> Token:
        """Return the token of a request; RejectedRequest (401) without a valid one."""
        secret = _secret(request)
        found: Token | None = getattr(request.state, "token", None)
        token = found or (self._tokens.holder(secret) if secret else None)
        if token is None:
            raise RejectedRequest(401, "a valid token is required: send `Authorization: Bearer TOKEN`")
        return token

    def remembered_worker(self, request: Request) -> str | None:
        """Return the worker that sent a request, if its token is cached; never queries the database."""
        token = self._tokens.remembered(_secret(request))
        return token.name if token is not None and token.scope == WORKER else None

    async def checked(self, check: Callable[[Request], T], request: Request) -> T:
        """Call one of the methods below; in a thread if it must query the database for the token."""
        token = self._tokens.remembered(_secret(request))
        if token is None:
            return await in_thread(check, request)
        request.state.token = token  # else the cache could expire before `check` reads it, which then blocks the loop
        try:
            return check(request)
        finally:
            del request.state.token

    def known_as(self, request: Request) -> str:
        """Return the name of a request's token if it is cached, else `-`; never queries the database."""
        token = self._tokens.remembered(_secret(request))
        return token.name if token is not None else "-"

    async def is_known(self, request: Request) -> bool:
        """Return whether a request has a valid token of any scope."""
        try:
            return bool(_secret(request) and await self.checked(self.token, request))
        except (RejectedRequest, StoreError):
            return False

    def worker(self, request: Request) -> str:
        """Return the name of the worker that sent a request; RejectedRequest for any other token."""
        return self._of_scope(request, WORKER).name

    def operator(self, request: Request) -> Token:
        """Return the operator's token of a request; RejectedRequest for any other token."""
        return self._of_scope(request, OPERATOR)

    def reader(self, request: Request) -> Token:
        """Return the token of a request that may read what is not public; RejectedRequest unless its holder may."""
        token = self.token(request)
        if token.scope == WORKER:
            raise RejectedRequest(403, "the token has scope worker: this requires scope operator or read")
        return token

    def may_read(self, request: Request, what: str) -> None:
        """Raise RejectedRequest if `protected_reads` lists `what` and the request has no valid token."""
        if what in self._protected:
            self.token(request)

    def _of_scope(self, request: Request, scope: str) -> Token:
        token = self.token(request)
        if token.scope != scope:
            raise RejectedRequest(403, f"the token has scope {token.scope}: this requires scope {scope}")
        return token

    def is_unlimited(self, request: Request) -> bool:
        """Return whether a request is exempt from the limits per client, as one of tunasync's workers."""
        # Behind a proxy that the settings do not name, all clients have the proxy's address.
        is_direct = self._behind_proxy or "x-forwarded-for" not in request.headers
        return is_direct and _is_in(self._writers, client(request))

    def may_write_tunasync(self, request: Request) -> None:
        """Raise RejectedRequest unless a request comes straight from an address in `tunasync.writes_from`.

        A page in a browser on that address must not write either, so requests with `Origin` are denied.
        """
        host = client(request)
        if not _is_in(self._writers, host):
            raise RejectedRequest(403, f"writing is denied: {host or 'the client'} is not in `tunasync.writes_from`")
        if "origin" in request.headers:
            raise RejectedRequest(403, "writing is denied: the request has `Origin`, so a web page sent it")
        if "x-forwarded-for" in request.headers and not self._behind_proxy:
            raise RejectedRequest(
                403, "writing is denied: the request came through a proxy that is not in `trusted_proxies`"
            )

    def is_plain_tunasync(self, request: Request) -> bool:
        """Return whether a request comes straight from a listed address, so that it needs no further checks."""
        host = client(request)
        if host not in self._listed:
            if not _is_in(self._writers, host):
                return False
            self._listed.add(host)
            if len(self._listed) > _REMEMBERED:
                self._listed.clear()
        return not any(name in _INDIRECT for name, _ in request.scope["headers"])

    async def body(self, request: Request) -> bytes:
        """Read the body; RejectedRequest when it is larger than `body_limit` (413) or arrives too slowly (408)."""
        return b"".join([part async for part in self.parts(request)])

    async def parts(self, request: Request) -> AsyncIterator[bytes]:
        """Read the body and yield its parts as they arrive, of which none is kept; RejectedRequest as `body`."""
        too_large = RejectedRequest(413, f"the body is larger than {self._body_limit} bytes")
        # Rejected before any of it is read; without this header, or with a wrong one, it is counted below.
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._body_limit:
            raise too_large
        begun, size = asyncio.get_running_loop().time(), 0
        try:
            while True:
                async with asyncio.timeout_at(begun + self._patience + size / SLOWEST):
                    message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                part = message.get("body", b"")
                size += len(part)
                if size > self._body_limit:
                    raise too_large
                yield part
                if not message.get("more_body", False):
                    return
        except TimeoutError as error:
            raise RejectedRequest(408, f"the body did not arrive within {self._patience} s") from error


def _secret(request: Request) -> str:
    """Return the bearer token in the header, empty without one."""
    for name, value in request.scope["headers"]:  # raw, since this is in the path of every request
        if name == b"authorization":
            # latin-1 decodes any byte, so an invalid header is an unknown token.
            scheme, _, secret = value.decode("latin-1").partition(" ")
            return secret.strip() if scheme.lower() == "bearer" else ""
    return ""


def _is_in(listed: Iterable[Network], host: str) -> bool:
    return any(contains(network, host) for network in listed)


def shows_token(request: Request) -> bool:
    """Return whether a request has a token, valid or not."""
    return bool(_secret(request))


def client(request: Request) -> str:
    """Return the address of the client, empty when it has none."""
    return unmapped(request.client.host) if request.client else ""


def number(request: Request, key: str, default: int, most: int) -> int:
    """Return a query parameter as a whole number, capped at `most`; RejectedRequest (400) when it is not one."""
    text = request.query_params.get(key, str(default))
    if not (text.isascii() and text.isdecimal()):
        raise RejectedRequest(400, f"`{key}` must be a whole number, but is {text[:100]!r}")
    # Twenty digits exceed every limit, and Python does not convert thousands of them.
    return min(most, int(text[:20]))


def name(request: Request, key: str) -> str:
    """Return a query parameter as a name, empty without one; RejectedRequest (400) when it is not valid."""
    text = request.query_params.get(key, "")
    if text and not is_name(text):
        raise RejectedRequest(400, f"`{key}` is not a valid name: {text[:100]!r}")
    return text
