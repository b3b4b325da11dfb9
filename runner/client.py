"""Talking HTTP with the manager: the only module of the worker that does."""

from typing import Any, NamedTuple

import requests

from schemas.errors import SkipjackError
from schemas.records import ManagerAddress
from schemas.secrets import read_secret

TIMEOUT = (5.0, 30.0)
"""Seconds to connect, and to wait for each part of an answer."""


class Answer(NamedTuple):
    """What the manager says to a batch: the last number that it has committed, and what it wants besides."""

    acknowledged: int
    want: str | None


class TooLarge(SkipjackError):  # noqa: N818 - it is what happened to the request, and reads so at every raise
    """The manager, or what stands before it, takes no request of this size."""


class Client:
    """A session with one manager."""

    def __init__(self, address: ManagerAddress) -> None:
        self._url = address.url.rstrip("/") + "/api/v1/reports"
        self._token = address.token
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies and no .netrc that would replace the token
        if address.ca_cert is not None:
            self._session.verify = address.ca_cert

    def send(self, envelope: dict[str, Any]) -> Answer:
        """Send one envelope; SkipjackError when it was not taken, whatever the cause. The token is read each time."""
        headers = {"Authorization": f"Bearer {read_secret(self._token)}"}
        try:
            answer = self._session.post(
                self._url, json=envelope, headers=headers, timeout=TIMEOUT, allow_redirects=False
            )
        except requests.RequestException as error:
            raise SkipjackError(f"The manager at {self._url} cannot be reached: {_reason(error)}.", _LATER) from error
        if answer.status_code == 413:
            raise TooLarge(f"The manager at {self._url} answered {_error(answer)}.", _LARGER)
        if answer.status_code != 200:
            raise SkipjackError(f"The manager at {self._url} answered {_error(answer)}.", _remedy(answer.status_code))
        return self._decode(answer)

    def _decode(self, answer: requests.Response) -> Answer:
        try:
            plain = answer.json()
            return Answer(int(plain["acknowledged"]), plain.get("want"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = f"What answers at {self._url} is no manager of Skipjack."
            raise SkipjackError(what, "Check `manager.url` in the settings.") from error


_LATER = "Nothing is lost: the reports wait here and are sent later."
_LARGER = f"Let it, and any proxy before it, take larger requests (`body_limit`). {_LATER}"


def _reason(error: requests.RequestException) -> str:
    inner: BaseException = error
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    reason = getattr(inner, "reason", None)
    return str(reason if reason is not None else inner).rpartition(": ")[2].strip("'() ") or type(error).__name__


def _error(answer: requests.Response) -> str:
    try:
        return f"{answer.status_code}: {str(answer.json()['error'])[:500]}".rstrip(".")
    except (ValueError, KeyError, TypeError):
        return str(answer.status_code)


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "Make a token with `skipjack-manager token add WORKER` and put it where `manager.token` points."
    return _LATER
