"""The short way of a report whose worker has shown its token a moment ago.

Almost every request is one of these, and rate limits, routing and the wrapping of answers would cost as much as all
that is done with it. What is true on the long way is true here: the same checks, the same answers, the same refusals.
"""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from sitegen import answers
from sitegen.access import Access
from sitegen.api_reports import PATH, Reports


class FastLane:
    """Stands before the rest of the application."""

    def __init__(self, app: ASGIApp, reports: Reports, access: Access) -> None:
        self._app = app
        self._reports = reports
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a report, or pass the request on."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        request = Request(scope, receive)
        worker = self._access.remembered_worker(request)
        if worker is None:
            return await self._app(scope, receive, send)
        try:
            body = await self._reports.kept(request, worker)
        except Exception as problem:
            refusal = await answers.HANDLERS[_kind(problem)](request, problem)
            await refusal(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 200, "headers": _headers(body)})
            await send({"type": "http.response.body", "body": body})


def _headers(body: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"content-length", b"%d" % len(body)), (b"content-type", _TYPE)]


def _kind(problem: Exception) -> type[Exception]:
    """The kind that there is an answer for; a bug is for whoever stands before us."""
    for kind in type(problem).__mro__:
        if kind in answers.HANDLERS and kind is not Exception:
            return kind
    raise problem


_TYPE = answers.Json.media_type.encode()
