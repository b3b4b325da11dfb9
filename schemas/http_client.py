"""HTTP requests to one server: the only module that is an HTTP client.

It uses requests, and adds what requests lacks: a deadline for a whole exchange and a largest body. The timeout of
requests is for each piece that arrives, so it never gives up on a server that sends a byte now and then. Here each wait
for the socket gets only what is left of the exchange's time. No redirect is followed, since that would carry a token to
another host; no cookie is kept, and no proxy is used.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from schemas import VERSION
from schemas.regular_files import LARGEST_PEM, require_regular

LARGEST = 64 * 1024
"""Bytes of a body that are read at most, unless the caller expects more."""

_READ_AT_ONCE = 64 * 1024
"""Bytes: memory is taken as the body arrives, not as its head announces it."""

_SENT_AT_ONCE = 16 * 1024
"""Bytes: one TLS record, since Python's socket timeout is for each record."""

_HUNG_UP = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ssl.SSLEOFError)
"""What a request on a kept connection ends with when the server is closing that connection."""

NOT_TLS = frozenset({
    "WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL",
})  # fmt: skip
"""OpenSSL's reasons for an answer that is not TLS."""


class Timeouts(NamedTuple):
    """Seconds to connect to one address, with TLS; and seconds for request and response together after that."""

    connect: float
    exchange: float


class Response(NamedTuple):
    """The status and the body of a response, and where a redirect leads."""

    status: int
    body: bytes
    location: str = ""


class ExchangeFailed(Exception):  # noqa: N818 - what happened, not a fault of this program
    """There was no complete response. The message is the reason in words, `__cause__` the error behind it.

    `sent`: the server may have received the request.
    """

    def __init__(self, reason: str, *, sent: bool = True) -> None:
        super().__init__(reason)
        self.sent = sent


class CertificateRejected(ExchangeFailed):
    """This machine does not trust the server's certificate for that name."""


class NotHttp(ExchangeFailed):
    """The server hung up or speaks another protocol, for example TLS where the URL says plain HTTP."""


class ResponseTooLarge(ExchangeFailed):
    """The body is larger than the limit."""


class HttpClient:
    """A client of the server at one URL, for one thread. It keeps its connection from one request to the next."""

    def __init__(self, url: str, ca_cert: str | None = None, address: str = "") -> None:
        """`ca_cert` is a file with the authorities to trust, None for those of the system.

        With `address`, an IP address, connections go there, whatever the URL's host resolves to by then.
        """
        self._url, self._ca_cert, self._address = url, ca_cert, address
        self._session: requests.Session | None = None

    def exchange(
        self, method: str, path: str, timeouts: Timeouts, *, body: bytes | None = None,
        headers: Mapping[str, str] | None = None, most: int = LARGEST,
    ) -> Response:  # fmt: skip
        """Send a request for `path` below the URL and return the response, with a body of at most `most` bytes.

        ExchangeFailed without a complete response. With `most` 0 the body is not read. A request on a kept connection
        may reach the server twice, when the server hangs up without a response.
        """
        kept, limits = self._session is not None, _Exchange(timeouts, self._address)
        words = method, path, body, dict(headers or {})
        try:
            return self._attempt(*words, limits, most)
        except ExchangeFailed as error:
            self.close()
            # A second attempt has a new session, which reads the file of authorities again.
            if not kept or not limits.may_repeat(error.__cause__):
                raise
        try:
            return self._attempt(*words, limits.rest(), most)
        except ExchangeFailed:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _attempt(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], limits: "_Exchange", most: int
    ) -> Response:
        token = _under_way.set(limits)
        try:
            base = _base(self._url)
            session = self._session = self._session or _session(base, self._ca_cert)
            request = requests.Request(method, base + path, _HEADERS | headers, data=body).prepare()
            # `stream`, so that the body is read here and under the limits
            with session.send(
                request, stream=True, allow_redirects=False, timeout=(limits.timeouts.connect, limits.timeouts.exchange)
            ) as response:
                location = response.headers.get("Location", "")
                return Response(response.status_code, _body(response.raw, most) if most else b"", location)
        # Errors of requests are OSErrors; those of its libraries can pass through it unwrapped.
        except (OSError, ValueError, http.client.HTTPException, HTTPError) as error:
            cause = _cause(error)
            raise _failure(cause, sent=limits.sent) from cause
        finally:
            _under_way.reset(token)


_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"Skipjack/{VERSION}"}
"""No compression: a body could be a thousand times as large as the bytes that were received."""


def trusted(ca_cert: str | None) -> ssl.SSLContext:
    """Return a TLS context that trusts the authorities in a file, or those of the system; ValueError if unusable."""
    try:
        if ca_cert is not None:
            require_regular(ca_cert, LARGEST_PEM)
        return ssl.create_default_context(cafile=ca_cert)
    except OSError as error:
        raise ValueError(f"the certificates in {ca_cert} cannot be used: {error.strerror or error}") from error


def _base(url: str) -> str:
    """Return the URL without its user and password, which requests would send instead of a token; no slash ends it."""
    try:
        parts = urlsplit(url)
        if not parts.hostname or parts.port == 0:
            raise ValueError("it has no host, or port 0")
    except ValueError as error:
        raise ValueError(f"its address is not valid: {str(error)[:1].lower()}{str(error)[1:]}") from error
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _session(base: str, ca_cert: str | None) -> requests.Session:
    session = requests.Session()
    # What a request does depends on the settings alone: no proxy variables, which would send the token elsewhere; no
    # ~/.netrc, whose password would replace the token; no REQUESTS_CA_BUNDLE.
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    adapter = _Adapter(trusted(ca_cert) if base.startswith("https:") else None)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def _body(raw: Any, most: int) -> bytes:
    """Read a body. `stream` of urllib3 would read a chunk's head of any length; `read` leaves that to http.client."""
    data = bytearray()
    # One byte more than allowed shows that there is more.
    while piece := raw.read(min(_READ_AT_ONCE, most + 1 - len(data)), decode_content=False):
        data += piece
        if len(data) > most:
            raise _BodyTooLargeError(f"the response is larger than {most} bytes")
    return bytes(data)


class _BodyTooLargeError(ValueError):
    """The body is larger than the limit."""


class _Exchange:
    """The time limits of one exchange, and how far it has come."""

    def __init__(self, timeouts: Timeouts, address: str) -> None:
        self.timeouts, self.address = timeouts, address
        self.is_new_connection = self.sent = False
        self._ends_at = time.monotonic() + timeouts.exchange

    def connected(self) -> None:
        """Note that a connection was made: the time for the exchange starts now."""
        self.is_new_connection = True
        self._ends_at = time.monotonic() + self.timeouts.exchange

    def left(self) -> float:
        """Return the seconds that are left; TimeoutError when there are none."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def may_repeat(self, cause: BaseException | None) -> bool:
        """Whether a new session may help: the server closed the kept connection, or the authorities' file changed."""
        # Only on a kept connection: the server may close it at any time, whatever the request is.
        hung_up = isinstance(cause, _HUNG_UP) and not self.is_new_connection and time.monotonic() < self._ends_at
        return hung_up or isinstance(cause, ssl.SSLCertVerificationError)

    def rest(self) -> "_Exchange":
        """Return the limits of a second attempt, which has the time that the first one left."""
        return _Exchange(self.timeouts._replace(exchange=max(0.0, self._ends_at - time.monotonic())), self.address)


_under_way: ContextVar[_Exchange] = ContextVar("_under_way")
"""The exchange of this thread: requests cannot hand it to the connection, which has to know its limits."""


class _TimedReader(io.RawIOBase):
    """The bytes of a response; each wait for more of them ends with the exchange's time."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock, self._raw, self._limits = sock, raw, _under_way.get()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._limits.left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """A response whose head and body are read within the exchange's time."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_TimedReader(sock, self.fp.detach()))


class _TimedConnection(HTTPConnection):
    """A connection that keeps to the limits of the exchange under way."""

    response_class = _TimedResponse

    def connect(self) -> None:
        limits = _under_way.get()
        if limits.address:
            self._dns_host = limits.address  # of urllib3: the name stays that of the request and of the certificate
        super().connect()
        limits.connected()

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        limits = _under_way.get()
        limits.sent = True
        view = memoryview(data)
        for first in range(0, len(view), _SENT_AT_ONCE):
            self.sock.settimeout(limits.left())
            super().send(view[first : first + _SENT_AT_ONCE])


class _TimedTlsConnection(_TimedConnection, HTTPSConnection):
    """The same over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _TimedConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TimedTlsConnection


class _Adapter(HTTPAdapter):
    """Timed connections, which trust the authorities of one TLS context alone."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        # One server and one thread.
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Add no authority: requests would trust its own bundle besides the context's."""


def _cause(error: BaseException) -> BaseException:
    """Return the first error that is not a wrapper of requests or urllib3, whose texts show URLs and headers."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, http.client.IncompleteRead) or _module(found) not in ("requests", "urllib3"):
            return found
        found = found.__cause__ or found.__context__
    return error


def _module(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def _failure(error: BaseException, *, sent: bool) -> ExchangeFailed:
    match error:
        case _BodyTooLargeError():
            return ResponseTooLarge(str(error), sent=sent)
        case http.client.RemoteDisconnected():
            return NotHttp("the server hung up without a response", sent=sent)
        case http.client.IncompleteRead():
            return ExchangeFailed("the response was cut off", sent=sent)
        case http.client.HTTPException():
            return NotHttp("the response was cut off or is not HTTP", sent=sent)
        case ConnectionResetError() | BrokenPipeError():
            return NotHttp(_reason(error), sent=sent)
        case ssl.SSLCertVerificationError():
            return CertificateRejected(_reason(error), sent=sent)
    return ExchangeFailed(_reason(error), sent=sent)


def _reason(error: BaseException) -> str:
    """Return why a connection failed, in words."""
    match error:
        case TimeoutError():
            return "timed out"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not valid: {error.verify_message.rstrip('.')}"
        case ssl.SSLError(reason=reason) if reason in NOT_TLS:
            return "the server does not speak TLS on that port"
        case requests.RequestException() | HTTPError():
            return "its address is not valid" if isinstance(error, ValueError) else type(error).__name__
        case OSError():
            return error.strerror or type(error).__name__
    return str(error)
