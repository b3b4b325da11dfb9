"""Calling a worker of tunasync: the only module of the manager that calls anybody over HTTP.

Only URLs of the manager's own settings come here; no redirect is followed and no proxy asked.
"""

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 3.0
"""Seconds for each step; `tunasynctl` itself waits for 5."""


class NotReached(Exception):  # noqa: N818 - it is what happened to the call
    """The worker did not take the command; says why."""


def post(url: str, content: Mapping[str, Any]) -> None:
    """Post JSON; NotReached unless it is answered with 200."""
    place = urlsplit(url)
    try:
        kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        connection = kind(place.hostname or "", place.port, timeout=TIMEOUT)
    except ValueError as error:
        raise NotReached(str(error)) from error
    try:
        target = (place.path or "/") + (f"?{place.query}" if place.query else "")
        connection.request("POST", target, json.dumps(content), {"Content-Type": "application/json; charset=utf-8"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise NotReached(str(error) or type(error).__name__) from error
    finally:
        connection.close()
    if status != 200:
        raise NotReached(f"it answered {status}")
