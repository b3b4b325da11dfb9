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

TIMEOUT = 3.0
"""Seconds to connect, and for the whole answer; `tunasynctl` itself waits for 5."""


class NotReached(Exception):  # noqa: N818 - it is what happened to the call
    """The worker did not take the command; says why."""


class NotConfirmed(Exception):  # noqa: N818 - it is what happened to the call
    """The worker has the command, but its answer did not come in time; says why."""


def post(url: str, content: Mapping[str, Any], accepted: Collection[int] = (200,), ca_cert: str | None = None) -> None:
    """Post JSON; NotReached unless the answer's status is `accepted`, NotConfirmed when no answer came in time.

    `ca_cert` is the file of the authority that signed the certificate, None for a public one.
    """
    place = urlsplit(url)
    try:
        connection = _connection(place, ca_cert)
    except (ValueError, OSError) as error:
        raise NotReached(str(error)) from error
    try:
        target = (place.path or "/") + (f"?{place.query}" if place.query else "")
        connection.request("POST", target, json.dumps(content), {"Content-Type": "application/json; charset=utf-8"})
        status = _status(connection)
    except (OSError, http.client.HTTPException) as error:
        raise NotReached(str(error) or type(error).__name__) from error
    finally:
        connection.close()
    if status not in accepted:
        raise NotReached(f"it answered {status}")


def _connection(place: SplitResult, ca_cert: str | None) -> http.client.HTTPConnection:
    host = place.hostname or ""
    if place.scheme != "https":
        return http.client.HTTPConnection(host, place.port, timeout=TIMEOUT)
    try:
        trusted = ssl.create_default_context(cafile=ca_cert)
    except OSError as error:
        raise NotReached(f"`tunasync.ca_cert` {ca_cert} cannot be used: {error.strerror or error}") from error
    return http.client.HTTPSConnection(host, place.port, timeout=TIMEOUT, context=trusted)


def _status(connection: http.client.HTTPConnection) -> int:
    """The status of the answer to a request that was sent.

    The answer as a whole has TIMEOUT: the socket's own limit is for each piece of it.
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
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        if expired.is_set() or isinstance(error, TimeoutError):
            raise late from error
        raise
    finally:
        timer.cancel()
    if expired.is_set():  # what was read may look whole
        raise late
    return status
