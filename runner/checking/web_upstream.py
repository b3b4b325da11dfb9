"""Ask a web server whether it has an address. No redirect to another host is followed."""

from collections.abc import Sequence
from contextlib import closing
from typing import NamedTuple
from urllib.parse import SplitResult, urljoin, urlsplit

from runner.checking.upstream_answers import FINE, UNASKED, Question, UpstreamAnswer, doubtful, missing
from schemas.config.upstreams import plain_host
from schemas.http_client import CertificateRejected, ExchangeFailed, HttpClient, Response, Timeouts
from schemas.problems import shown

_TIMEOUTS = Timeouts(10.0, 15.0)
_PORTS = {"http": 80, "https": 443}
_MOST_REDIRECTS = 3
_WITHOUT_HEAD = frozenset({400, 403, 405, 501})
"""Answers of servers that accept only GET."""


class WebPlace(NamedTuple):
    """A web server, and an address on it."""

    host: str
    port: int
    url: SplitResult


def web_place(upstream: str) -> WebPlace | None:
    """Return the place that an address names; None if it is not that of a web server."""
    try:
        url = urlsplit(upstream)
        port = url.port or _PORTS.get(url.scheme, 0)
    except ValueError:
        return None
    return WebPlace(plain_host(url.hostname), port, url) if url.scheme in _PORTS and url.hostname else None


def ask(place: WebPlace, addresses: Sequence[str], question: Question) -> UpstreamAnswer:
    """Ask the server at the first address that can be reached."""
    failure: ExchangeFailed | None = None
    for address in addresses:
        try:
            return _followed(place, address, question)
        except CertificateRejected as error:
            return doubtful(f"the certificate of `{shown(place.host)}` is not valid: {error}", "Check the host's name.")
        except ExchangeFailed as error:
            failure = error
    if failure is not None and isinstance(failure.__cause__, ConnectionRefusedError):
        what = f"`{shown(place.host)}` refuses connections to port {place.port}"
        return missing(question, what, "Check scheme, host and port.")
    return doubtful(f"the web server of `{shown(place.host)}` cannot be asked: {failure}")


def _followed(place: WebPlace, address: str, question: Question) -> UpstreamAnswer:
    for _ in range(_MOST_REDIRECTS):
        response = _response(place, address)
        if not (300 <= response.status < 400 and response.location):
            return _judged(response.status, place, question)
        target = web_place(urljoin(place.url.geturl(), response.location))
        if target is None or target.host != place.host or target.port not in (place.port, *_PORTS.values()):
            todo = "Write that address if you trust it: Skipjack follows no redirect to another host."
            return doubtful(f"the web server of `{shown(place.host)}` redirects to `{shown(response.location)}`", todo)
        place = target
    return doubtful(
        f"the web server of `{shown(place.host)}` redirects more than {_MOST_REDIRECTS} times", "Check the path."
    )


def _response(place: WebPlace, address: str) -> Response:
    server = f"[{place.host}]" if ":" in place.host else place.host
    path = place.url.path or "/"
    with closing(HttpClient(f"{place.url.scheme}://{server}:{place.port}", address=address)) as client:
        words = f"{path}?{place.url.query}" if place.url.query else path
        response = client.exchange("HEAD", words, _TIMEOUTS, most=0)
        return client.exchange("GET", words, _TIMEOUTS, most=0) if response.status in _WITHOUT_HEAD else response


def _judged(status: int, place: WebPlace, question: Question) -> UpstreamAnswer:
    if status < 300:
        return UpstreamAnswer(FINE)
    if status in (401, 407) or (status == 403 and question.has_password):
        return UpstreamAnswer(UNASKED)
    if status in (404, 410):
        what = f"the web server of `{shown(place.host)}` answers {status} for `{shown(place.url.path or '/')}`"
        return missing(question, what, "Check the path, if the program fetches this address itself.")
    if status in (429, 503):
        return doubtful(
            f"the web server of `{shown(place.host)}` is busy: it answers {status}", "Run the check again later."
        )
    return doubtful(f"the web server of `{shown(place.host)}` answers {status} for `{shown(place.url.path or '/')}`")
