"""HTTP, as far as the worker needs it: the only module that speaks it. No proxies, redirects, cookies or `.netrc`.

An exchange has one deadline for all of it, so that a server which sends a byte now and then holds nobody up.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from runner.courier.unreached import words
from schemas.regular_files import require_regular

LARGEST = 64 * 1024
"""Bytes of an answer that are read at most, unless the caller expects more."""

_HUNG_UP = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ssl.SSLEOFError)
"""What becomes of a kept connection that the server has closed meanwhile."""


class Patience(NamedTuple):
    """Seconds to connect to one address, and for all that follows."""

    connect: float
    answer: float


class Unreachable(Exception):  # noqa: N818 - what happened, not a fault of ours
    """There was no whole answer; the message says why in words."""


class Untrusted(Unreachable):
    """The server's certificate is not one that this machine trusts for that name."""


class NoHttp(Unreachable):
    """What answers hangs up or speaks another protocol, as TLS where the address says plain HTTP."""


class TooLong(Unreachable):
    """The answer is longer than what was expected there."""


class Reply(NamedTuple):
    """An answer: its status and its body."""

    status: int
    body: bytes


class Line:
    """A connection to the server at a URL, kept open from one exchange to the next; for one thread."""

    def __init__(self, url: str, ca_cert: str | None = None) -> None:
        self._address = url
        self._secure, self._host, self._port, self._base = False, "", 0, ""
        self._ca_cert = ca_cert
        self._connection: http.client.HTTPConnection | None = None

    def exchange(
        self, method: str, path: str, patience: Patience, *, body: bytes | None = None,
        headers: Mapping[str, str] | None = None, most: int = LARGEST,
    ) -> Reply:  # fmt: skip
        """Ask for `path` below the URL; Unreachable without a whole answer of at most `most` bytes.

        A request on a kept connection may reach the server twice, when that hangs up without an answer.
        """
        began, kept = time.monotonic(), self._connection is not None
        self._understand()
        request = method, self._base + path, body, dict(headers or {})
        try:
            try:
                return self._exchange(request, patience, most)
            except _HUNG_UP:
                self.close()
                left = patience.answer - (time.monotonic() - began)
                if not kept or left <= 0:
                    raise
                return self._exchange(request, patience._replace(answer=left), most)
        except TooLong:
            self.close()
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.close()
            raise _failure(error) from error

    def _understand(self) -> None:
        """Take the address apart; Unreachable when it cannot be one."""
        try:
            parts = urlsplit(self._address)
            self._secure = parts.scheme == "https"
            self._host, self._port = parts.hostname or "", parts.port or (443 if self._secure else 80)
            self._base = parts.path.rstrip("/")
        except ValueError as error:
            raise Unreachable(f"its address is not valid: {str(error)[:1].lower()}{str(error)[1:]}") from error

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _exchange(self, request: tuple[str, str, bytes | None, dict[str, str]], patience: Patience, most: int) -> Reply:
        connection = self._connection = self._connection or self._connected(patience)
        with _all_within(connection.sock, patience.answer):
            if isinstance(connection.sock, ssl.SSLSocket):
                connection.sock.do_handshake()  # does nothing where it was done
            connection.request(*request)
            response = connection.getresponse()
            data = response.read(most + 1)
            if len(data) > most:
                raise TooLong(f"the answer is larger than {most} bytes")
            if response.length:  # which `read` passes over in silence
                raise http.client.IncompleteRead(data, response.length)
        if response.will_close:
            self.close()
        return Reply(response.status, data)

    def _connected(self, patience: Patience) -> http.client.HTTPConnection:
        context = self._context() if self._secure else None
        sock = socket.create_connection((self._host, self._port), patience.connect)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            connection = http.client.HTTPConnection(self._host, self._port)
        else:
            connection = http.client.HTTPSConnection(self._host, self._port, context=context)
            sock = context.wrap_socket(sock, server_hostname=self._host, do_handshake_on_connect=False)
        connection.sock = sock
        return connection

    def _context(self) -> ssl.SSLContext:
        try:
            if self._ca_cert is not None:
                require_regular(self._ca_cert)
            return ssl.create_default_context(cafile=self._ca_cert)
        except OSError as error:
            raise ValueError(f"the certificates in {self._ca_cert} cannot be used: {error.strerror}") from error


@contextlib.contextmanager
def _all_within(sock: socket.socket, seconds: float) -> Iterator[None]:
    """Cut a connection off after some seconds, whatever is done with it: a socket's own limit is for each part."""
    expired = threading.Event()

    def cut() -> None:
        expired.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # a TLS socket's own would say good-bye first

    sock.settimeout(seconds)
    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as error:
        if expired.is_set():
            raise TimeoutError("timed out") from error
        raise
    finally:
        timer.cancel()
    if expired.is_set():  # what was read may look whole
        raise TimeoutError("timed out")


def _failure(error: Exception) -> Unreachable:
    match error:
        case http.client.RemoteDisconnected():
            return NoHttp("it hung up without an answer")
        case http.client.IncompleteRead():
            return Unreachable("its answer was cut off")
        case http.client.HTTPException():
            return NoHttp("what answers there speaks no HTTP")
        case ConnectionResetError() | BrokenPipeError():
            return NoHttp(words(error))
        case ssl.SSLCertVerificationError():
            return Untrusted(words(error))
    return Unreachable(words(error))
