"""Calling a worker of tunasync: the only module of the manager that calls anybody over HTTP.

Only URLs of the manager's own settings come here; no redirect is followed and no proxy asked.
"""

import contextlib
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from schemas.regular_files import require_regular

TIMEOUT = 3.0
"""Seconds to connect, and for the whole answer; `tunasynctl` itself waits for 5."""


class NotReached(Exception):  # noqa: N818 - it is what happened to the call
    """The worker did not take the command; says why."""


class NotConfirmed(Exception):  # noqa: N818 - it is what happened to the call
    """The worker may have the command, but has not answered it; says why."""


_OF_GATEWAYS = frozenset({502, 503, 504})
"""What a proxy answers that has lost the worker, whose own program answers nothing of the kind."""


def post(url: str, content: Mapping[str, Any], accepted: Collection[int] = (200,), ca_cert: str | None = None) -> None:
    """Post JSON; returns when the worker's answer has an `accepted` status.

    NotReached when there was no connection or the worker refuses; NotConfirmed when the request may have arrived and no
    answer of the worker's came. `ca_cert` is the file of the authority that signed the certificate, None for a public
    one.
    """
    place = urlsplit(url)
    try:
        connection = _connection(place, ca_cert)
    except (ValueError, OSError) as error:
        raise NotReached(str(error)) from error
    target = (place.path or "/") + (f"?{place.query}" if place.query else "")
    if not (target.isascii() and target.isprintable()) or " " in target:
        raise NotReached(f"its URL has characters that need percent-encoding: {target!a}")
    try:
        _open(connection)
        status = _answered(connection, target, content)
    finally:
        connection.close()
    if status in _OF_GATEWAYS:
        raise NotConfirmed(f"a proxy on the way answered {status}")
    if status not in accepted:
        raise NotReached(f"it answered {status}")


def _connection(place: SplitResult, ca_cert: str | None) -> http.client.HTTPConnection:
    host = place.hostname or ""
    if place.scheme != "https":
        return http.client.HTTPConnection(host, place.port, timeout=TIMEOUT)
    return http.client.HTTPSConnection(host, place.port, timeout=TIMEOUT, context=trusted(ca_cert))


def trusted(ca_cert: str | None) -> ssl.SSLContext:
    """Whose certificates are believed; NotReached when the file of the authority cannot be used."""
    try:
        if ca_cert is not None:
            require_regular(ca_cert)
        return ssl.create_default_context(cafile=ca_cert)
    except OSError as error:
        raise NotReached(f"`tunasync.ca_cert` {ca_cert} cannot be used: {error.strerror or error}") from error


def _open(connection: http.client.HTTPConnection) -> None:
    """Connect, and shake hands over TLS; until then nothing of the request is on its way."""
    try:
        connection.connect()
    except (OSError, ValueError) as error:  # a ValueError when no name server can be asked for such a name
        raise NotReached(str(error) or type(error).__name__) from error


def _answered(connection: http.client.HTTPConnection, target: str, content: Mapping[str, Any]) -> int:
    """Send the request and return the status of the answer.

    Both as a whole have TIMEOUT: the socket's own limit is for each piece of them.
    """
    expired = threading.Event()

    def cut(sock: socket.socket) -> None:
        expired.set()
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # a TLS socket's own would say good-bye first

    timer = threading.Timer(TIMEOUT, cut, (connection.sock,))
    timer.daemon = True
    timer.start()
    late = NotConfirmed(f"the worker did not answer within {TIMEOUT:g} s")
    try:
        connection.request("POST", target, json.dumps(content), {"Content-Type": "application/json; charset=utf-8"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        if expired.is_set() or isinstance(error, TimeoutError):
            raise late from error
        what = (
            f"the connection broke: {error}" if isinstance(error, OSError) else "the answer was cut off or is not HTTP"
        )
        raise NotConfirmed(what) from error
    finally:
        timer.cancel()
    if expired.is_set():  # what was read may look whole
        raise late
    return status
