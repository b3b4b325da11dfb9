"""Calling a worker of tunasync: the only module of the manager that calls anybody over HTTP.

Only URLs of the manager's own settings come here; no redirect is followed and no proxy asked.
"""

import http.client
import json
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 3.0
"""Seconds for each step; `tunasynctl` itself waits for 5."""


class NotReached(Exception):  # noqa: N818 - it is what happened to the call
    """The worker did not take the command; says why."""


class NotConfirmed(Exception):  # noqa: N818 - it is what happened to the call
    """The worker has the command, but its answer did not come in time; says why."""


def post(url: str, content: Mapping[str, Any], accepted: Collection[int] = (200,)) -> None:
    """Post JSON; NotReached unless the answer's status is `accepted`, NotConfirmed when no answer came in time."""
    place = urlsplit(url)
    try:
        kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        connection = kind(place.hostname or "", place.port, timeout=TIMEOUT)
    except ValueError as error:
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


def _status(connection: http.client.HTTPConnection) -> int:
    """The status of the answer to a request that was sent."""
    try:
        return connection.getresponse().status
    except TimeoutError as error:
        raise NotConfirmed(f"the worker did not answer within {TIMEOUT:g} s") from error
