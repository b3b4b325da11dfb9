"""Calls to the workers of tunasync: the only HTTP requests that the manager sends.

Only URLs of the manager's own settings are called.
"""

import json
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 3.0
"""Seconds to connect, and for the whole answer; `tunasynctl` itself waits for 5."""


class NotReached(Exception):  # noqa: N818 - it is what happened to the call
    """The worker did not take the command; the message says why."""


class NotConfirmed(Exception):  # noqa: N818 - it is what happened to the call
    """The worker may have the command, but has not answered it; the message says why."""


_OF_GATEWAYS = frozenset({502, 503, 504})
"""The statuses of a proxy that cannot reach the worker; tunasync's own worker answers with none of them."""


def post(url: str, content: Mapping[str, Any], accepted: Collection[int] = (200,), ca_cert: str | None = None) -> None:
    """Post JSON, and return when the worker answers with an `accepted` status.

    NotReached when there was no connection or the worker refuses. NotConfirmed when the request may have arrived, and
    the worker has not answered. `ca_cert` is the file of the authority that signed the certificate, None for a public
    one.
    """
    # requests is loaded with the first call: it takes 8 MB, and few sites have workers of tunasync with URLs
    from schemas.http_client import ExchangeFailed, HttpClient, Timeouts

    place = urlsplit(url)
    target = place.path + (f"?{place.query}" if place.query else "")
    if not (target.isascii() and target.isprintable()) or " " in target:
        raise NotReached(f"its URL has characters that need percent-encoding: {target!a}")
    headers = {"Content-Type": "application/json; charset=utf-8"}
    require_authority(ca_cert)  # so that the message names the key of the settings
    with closing(HttpClient(f"{place.scheme}://{place.netloc}", ca_cert)) as client:
        try:
            timeouts = Timeouts(TIMEOUT, TIMEOUT)
            status = client.exchange(
                "POST", target, timeouts, body=json.dumps(content).encode(), headers=headers, most=0
            ).status
        except ExchangeFailed as error:
            if not error.sent:
                raise NotReached(str(error)) from error
            if isinstance(error.__cause__, TimeoutError):
                raise NotConfirmed(f"the worker did not answer within {TIMEOUT:g} s") from error
            raise NotConfirmed(str(error)) from error
    if status in _OF_GATEWAYS:
        raise NotConfirmed(f"a proxy on the way answered {status}")
    if status not in accepted:
        raise NotReached(f"it answered {status}")


def require_authority(ca_cert: str | None) -> None:
    """Check the file of an authority, if there is one; NotReached when it cannot be used."""
    if ca_cert is None:
        return
    from schemas.http_client import trusted

    try:
        trusted(ca_cert)
    except ValueError as error:
        raise NotReached(f"`tunasync.ca_cert`: {error}") from error
