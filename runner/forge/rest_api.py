"""How a request reaches the API of a forge: with its token, page by page, and again after a rate limit.

The token is in a header alone. No redirect is followed, so it reaches no other host.
"""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from runner.base.output import masked
from schemas import json_text
from schemas.errors import SkipjackError
from schemas.http_client import ExchangeFailed, HttpClient, Response, Timeouts
from schemas.problems import printable

_TIMEOUTS = Timeouts(10.0, 60.0)

_LARGEST = 32 * 1024**2
"""Bytes of a response: a page of comments, each as long as forges allow."""

_VALUES = 500_000
"""JSON values of a response."""

_MOST_PAGES = 200

PAUSES = (5.0, 60.0, 120.0)
"""Seconds before further attempts; GitHub asks for a minute after a rate limit."""

_BUSY = (429, 500, 502, 503, 504)

_MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)


class ForgeRefusal(SkipjackError):  # noqa: N818 - what happened to the request
    """The forge answered a request with an error: its status, and its message as the server wrote it."""

    def __init__(self, what: str, todo: str, status: int, message: str) -> None:
        super().__init__(what, todo)
        self.status, self.message = status, message


class RestApi:
    """The API of a forge at a URL. `headers` have the token."""

    def __init__(self, url: str, headers: Mapping[str, str], ca_cert: str | None) -> None:
        self._url = masked(url.rstrip("/"))
        self._headers = {"Accept": "application/json", **headers}
        self._http = HttpClient(url, ca_cert)

    def get(self, path: str, **query: str | int) -> Any:
        """Return the JSON at a path. ForgeRefusal if the forge answers an error, SkipjackError for other failures."""
        full = f"{path}?{urlencode(query)}" if query else path
        return self._decoded(self._asked("GET", full, None, repeatable=True), path)

    def pages(self, path: str, size: Mapping[str, int], **query: str) -> Iterator[Any]:
        """Yield the items of all pages of a list, to the first empty page. `size` is the parameter of a page's size.

        A page like the one before it ends the list as well: Gitea returns all comments at once, whatever the page is.
        Errors as `get`.
        """
        before: list[Any] = []
        for page in range(1, _MOST_PAGES + 1):
            items = self.get(path, **query, **size, page=page)
            if not isinstance(items, list):
                raise self._unexpected(path)
            if not items or items == before:
                return
            yield from items
            before = items
        raise SkipjackError(f"{self._url}{path} has more than {_MOST_PAGES} pages.", "Close old pull requests.")

    def send(self, method: str, path: str, body: Mapping[str, object], *, repeatable: bool = True) -> None:
        """Send JSON; errors as `get`. What is not `repeatable` is sent again only if the forge did not take it."""
        self._asked(method, path, json.dumps(body).encode(), repeatable=repeatable)

    @contextlib.contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """Report errors in the form of a response as SkipjackError."""
        try:
            yield
        except _MALFORMED as error:
            raise self._unexpected(path) from error

    def _asked(self, method: str, path: str, body: bytes | None, *, repeatable: bool) -> Response:
        for pause in PAUSES:
            try:
                response = self._exchange(method, path, body)
            except ExchangeFailed as error:
                if error.sent and not repeatable:
                    raise self._unreachable(error) from error
            else:
                if not _may_repeat(response, repeatable=repeatable):
                    return self._fine(response, path)
            time.sleep(pause)
        try:
            return self._fine(self._exchange(method, path, body), path)
        except ExchangeFailed as error:
            raise self._unreachable(error) from error

    def _fine(self, response: Response, path: str) -> Response:
        if not 200 <= response.status < 300:
            raise self._refusal(response, path)
        return response

    def _exchange(self, method: str, path: str, body: bytes | None) -> Response:
        headers = self._headers | ({} if body is None else {"Content-Type": "application/json"})
        return self._http.exchange(method, path, _TIMEOUTS, body=body, headers=headers, most=_LARGEST)

    def _decoded(self, response: Response, path: str) -> Any:
        with self.reading(path):
            return json_text.parse(response.body, _VALUES)

    def _unreachable(self, error: ExchangeFailed) -> SkipjackError:
        return SkipjackError(f"cannot reach the forge at {self._url}: {error}.", "Check `--api` and the network.")

    def _unexpected(self, path: str) -> SkipjackError:
        what = f"the server at {self._url}{path.partition('?')[0]} is not the API of this kind of forge."
        return SkipjackError(what, "Check `--forge` and `--api`.")

    def _refusal(self, response: Response, path: str) -> ForgeRefusal:
        message = _message(response)
        shown = f"{response.status}{f': {printable(masked(message))[:300]}' if message else ''}".rstrip(".")
        what = f"{self._url}{path.partition('?')[0]} answered {shown}."
        return ForgeRefusal(what, _todo(response.status, is_limit=_is_rate_limit(response)), response.status, message)


def _may_repeat(response: Response, *, repeatable: bool) -> bool:
    return _is_rate_limit(response) or (repeatable and response.status in _BUSY)


def _is_rate_limit(response: Response) -> bool:
    return response.status == 429 or (response.status == 403 and b"rate limit" in response.body.lower())


def _message(response: Response) -> str:
    try:
        plain = json_text.parse(response.body, _VALUES)
        found = plain.get("message") or plain.get("error") or ""
    except _MALFORMED:
        return ""
    return found if isinstance(found, str) else json.dumps(found)


def _todo(status: int, *, is_limit: bool) -> str:
    if is_limit:
        return "Its rate limit was reached: run the job again later."
    if status == 401:
        return "Check the token: it may have expired."
    if status == 403:
        return "Give the token the permission: docs/pull-requests.md lists what each job needs."
    if status in (301, 302, 307, 308):
        return "Write the present name of the repository, and the address of the API itself."
    if status == 404:
        return "Check `--repository`, and that the token may read it."
    return "Run the job again, or look at the forge's log."
