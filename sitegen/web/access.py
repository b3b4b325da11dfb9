"""Who is asking, and what they sent: tokens, addresses, bodies and parameters of a query."""

import asyncio
from collections.abc import Callable, Iterable
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
"""Bytes a second at which a body has to come; slower than that only holds a connection."""

_REMEMBERED = 1000
"""Listed addresses that are kept in mind; a listed network can have any number."""

_INDIRECT = frozenset({b"origin", b"x-forwarded-for", b"x-forwarded-proto", b"authorization"})
"""Headers of a request that a page in a browser or a proxy sends, or that comes with a token."""


class Access:
    """Answers who a request comes from; whoever may not do what it wants is Refused."""

    def __init__(self, store: Store, settings: ManagerSettings) -> None:
        self._tokens = TokenCache(store)
        self._body_limit = settings.body_limit
        self._patience = settings.limits.read_timeout
        self._protected = frozenset(settings.protected_reads)
        self._writers = networks(settings.tunasync.writes_from, "tunasync.writes_from")
        self._listed: set[str] = set()
        self._behind_proxy = bool(settings.trusted_proxies)

    def token(self, request: Request) -> Token:
        """The token of a request."""
        secret = _secret(request)
        found: Token | None = getattr(request.state, "token", None)
        token = found or (self._tokens.holder(secret) if secret else None)
        if token is None:
            raise RejectedRequest(401, "a valid token is needed: `Authorization: Bearer TOKEN`")
        return token

    def remembered_worker(self, request: Request) -> str | None:
        """The worker that a request comes from, if it showed its token a moment ago; asks nobody."""
        token = self._tokens.remembered(_secret(request))
        return token.name if token is not None and token.scope == WORKER else None

    async def asked(self, question: Callable[[Request], T], request: Request) -> T:
        """The answer of a method of ours; where the database has to be asked for it, others go on meanwhile."""
        token = self._tokens.remembered(_secret(request))
        if token is None:
            return await in_thread(question, request)
        request.state.token = token  # it might be forgotten in between, and a database that hangs hold up everybody
        try:
            return question(request)
        finally:
            del request.state.token

    def known_as(self, request: Request) -> str:
        """The name of whoever has just shown a valid token, `-` (no name) without one; asks nobody."""
        token = self._tokens.remembered(_secret(request))
        return token.name if token is not None else "-"

    async def is_known(self, request: Request) -> bool:
        """Whether a request has a valid token, of whatever scope."""
        try:
            return bool(_secret(request) and await self.asked(self.token, request))
        except (RejectedRequest, StoreError):
            return False

    def worker(self, request: Request) -> str:
        """The worker that a request comes from."""
        return self._of_scope(request, WORKER).name

    def operator(self, request: Request) -> Token:
        """The operator that a request comes from."""
        return self._of_scope(request, OPERATOR)

    def reader(self, request: Request) -> Token:
        """Whoever may read what is not for everybody."""
        token = self.token(request)
        if token.scope == WORKER:
            raise RejectedRequest(403, "the token's scope is worker, and only an operator or a reader may see this")
        return token

    def may_read(self, request: Request, what: str) -> None:
        """Let everybody read `what`, unless the settings protect it; then whoever has a token."""
        if what in self._protected:
            self.token(request)

    def _of_scope(self, request: Request, scope: str) -> Token:
        token = self.token(request)
        if token.scope != scope:
            raise RejectedRequest(
                403, f"the token's scope is {token.scope}, and only a token of scope {scope} may do this"
            )
        return token

    def is_unlimited(self, request: Request) -> bool:
        """Whether the limits for one client do not apply: it may write as a worker of tunasync."""
        is_direct = self._behind_proxy or "x-forwarded-for" not in request.headers
        return is_direct and _is_in(self._writers, client(request))

    def may_write_tunasync(self, request: Request) -> None:
        """Let only listed addresses change something without a token, and no page that they happen to show."""
        host = client(request)
        if not _is_in(self._writers, host):
            raise RejectedRequest(
                403, f"{host or 'this client'} may not change anything: it is not in `tunasync.writes_from`"
            )
        if "origin" in request.headers:
            raise RejectedRequest(403, "a page in a browser may not change anything")
        if "x-forwarded-for" in request.headers and not self._behind_proxy:
            raise RejectedRequest(
                403, "this came through a proxy that is not in `trusted_proxies`, so nobody knows from where"
            )

    def is_plain_tunasync(self, request: Request) -> bool:
        """Whether a request comes straight from a listed address; any other has to pass all the checks."""
        host = client(request)
        if host not in self._listed:
            if not _is_in(self._writers, host):
                return False
            self._listed.add(host)
            if len(self._listed) > _REMEMBERED:
                self._listed.clear()
        return not any(name in _INDIRECT for name, _ in request.scope["headers"])

    async def body(self, request: Request) -> bytes:
        """Read the body, but never more of it than is allowed, and not from somebody who hardly sends any."""
        too_large = RejectedRequest(413, f"the body is larger than {self._body_limit} bytes")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._body_limit:
            raise too_large
        body = bytearray()
        begun = asyncio.get_running_loop().time()
        try:
            while True:
                async with asyncio.timeout_at(begun + self._patience + len(body) / SLOWEST):
                    message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > self._body_limit:
                    raise too_large
                if not message.get("more_body", False):
                    return bytes(body)
        except TimeoutError as error:
            raise RejectedRequest(408, f"the body did not come within {self._patience} s") from error


def _secret(request: Request) -> str:
    """What stands in the request's header, empty without any."""
    for name, value in request.scope["headers"]:  # looked through as they are, since every request comes here
        if name == b"authorization":
            scheme, _, secret = value.decode("latin-1").partition(" ")
            return secret.strip() if scheme.lower() == "bearer" else ""
    return ""


def _is_in(listed: Iterable[Network], host: str) -> bool:
    return any(contains(network, host) for network in listed)


def shows_token(request: Request) -> bool:
    """Whether a token comes with a request, whatever it is worth."""
    return bool(_secret(request))


def client(request: Request) -> str:
    """The address of the client, empty when it has none."""
    return unmapped(request.client.host) if request.client else ""


def number(request: Request, key: str, default: int, most: int) -> int:
    """A whole number from the query, `most` at most."""
    text = request.query_params.get(key, str(default))
    if not (text.isascii() and text.isdecimal()):
        raise RejectedRequest(400, f"`{key}` must be a whole number, not {text[:100]!r}")
    return min(most, int(text[:20]))


def name(request: Request, key: str) -> str:
    """A name from the query, empty without one."""
    text = request.query_params.get(key, "")
    if text and not is_name(text):
        raise RejectedRequest(400, f"`{key}` is {text[:100]!r}, which is no name")
    return text
