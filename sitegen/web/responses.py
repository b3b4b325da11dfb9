"""The forms of answers: JSON, and for every exception an error as one sentence under `error`."""

import gzip
import logging
import re
from functools import cached_property
from typing import Any
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Match

from schemas.failures import of_the_machine
from sitegen.messages.envelope import RejectedRequest
from sitegen.storage.store import StoreError
from sitegen.web.db_timeout import NotAnswered
from sitegen.web.pending_reports import NotKept

FOR_ALL = {"Access-Control-Allow-Origin": "*"}
"""Lets web pages of any site read the answer."""

_log = logging.getLogger(__name__)


class Json(JSONResponse):
    """JSON with its encoding in the media type, as tunasync sends it."""

    media_type = "application/json; charset=utf-8"


def for_all(content: Any, status: int = 200) -> Response:
    """Return an answer that web pages of any site may read."""
    return Json(content, status, headers=FOR_ALL)


class CachedBody:
    """Serialized JSON that is sent many times."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    @cached_property
    def packed(self) -> bytes:
        """The body with gzip, made on first use; a list of mirrors shrinks to a twentieth."""
        # Level 9, the default, takes seven times as long for a list of mirrors and saves a sixth.
        return gzip.compress(self.body, 1)


def cached(request: Request, body: CachedBody) -> Response:
    """Return an answer that web pages of any site may read, with gzip if the client accepts it."""
    # Otherwise a cache could send the packed answer to a client that cannot read it.
    headers = FOR_ALL | {"Vary": "Accept-Encoding"}
    if _accepts_gzip(request.headers.get("accept-encoding", "")):
        return Response(body.packed, media_type=Json.media_type, headers=headers | {"Content-Encoding": "gzip"})
    return Response(body.body, media_type=Json.media_type, headers=headers)


def _accepts_gzip(accepted: str) -> bool:
    """Return whether an `Accept-Encoding` header lists gzip with a weight above 0."""
    weights = {
        name.strip(): weight.strip() for name, _, weight in (part.partition(";") for part in accepted.split(","))
    }
    return "gzip" in weights and not _ZERO.fullmatch(weights["gzip"])


# A weight of 0 means "not acceptable" (RFC 9110, section 12.4.2).
_ZERO = re.compile(r"q=0(\.0*)?")


def error(status: int, why: str, headers: Any = None) -> Response:
    """Return the answer for an error."""
    return Json({"error": why}, status_code=status, headers=headers)


async def _refused(_request: Request, problem: Exception) -> Response:
    if not isinstance(problem, RejectedRequest):
        raise problem
    # After a 408 the rest of the body may still come, which is not another request.
    headers = {401: {"WWW-Authenticate": "Bearer"}, 408: {"Connection": "close"}}.get(problem.status)
    return error(problem.status, problem.why, headers)


def not_kept(problem: Exception) -> Response:
    """Return the answer to a report that must be sent again."""
    return error(503, str(problem), {"Retry-After": "10"})


async def _not_kept(_request: Request, problem: Exception) -> Response:
    return not_kept(problem)


async def _unreadable(_request: Request, problem: Exception) -> Response:
    # A hanging database is reported by the queries that hang. A flood of requests must not become one of lines.
    if not isinstance(problem, NotAnswered) or problem.has_begun:
        _log.error("%s", problem)
    public = f": {problem.public}" if isinstance(problem, StoreError) and problem.public else ""
    return error(503, f"cannot use the manager's database{public}", {"Retry-After": "10"})


async def _gone(_request: Request, _gone: Exception) -> Response:
    return Response(status_code=400)  # the client is gone


async def _http_error(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, HTTPException):
        raise problem
    without_slash = _without_slash(request) if problem.status_code == 404 else None
    if without_slash is not None:
        # Its status is 307, with which a client repeats the method and the body.
        return RedirectResponse(without_slash)
    return error(problem.status_code, problem.detail.lower(), problem.headers)


def _without_slash(request: Request) -> str | None:
    """Return the path without its last slash if that is a route, else None.

    The redirect names no host, since a client can write anything into `Host`.
    """
    path = request.scope["path"]
    shorter = {**request.scope, "path": path.rstrip("/")}
    if not path.endswith("/") or all(route.matches(shorter)[0] is Match.NONE for route in request.app.routes):
        return None
    query = request.scope["query_string"].decode("latin-1")
    return quote("/" + shorter["path"].strip("/")) + (f"?{query}" if query else "")


async def _bug(_request: Request, problem: Exception) -> Response:
    if failure := of_the_machine(problem):
        _log.error("%s", failure)
        return error(503, "the manager is out of resources: see the manager's log", {"Retry-After": "10"})
    return error(500, "this is a bug of the manager: its log has the traceback")


HANDLERS = {
    RejectedRequest: _refused,
    NotKept: _not_kept,
    StoreError: _unreadable,
    ClientDisconnect: _gone,
    HTTPException: _http_error,
    Exception: _bug,
}
"""The handler for each class of exceptions, for Starlette."""


async def of(request: Request, problem: Exception) -> Response:
    """Return the answer to an exception, as Starlette finds it."""
    handler = next(HANDLERS[kind] for kind in type(problem).__mro__ if kind in HANDLERS)
    answer: Response = await handler(request, problem)
    return answer


def is_expected(problem: Exception) -> bool:
    """Return whether an exception has a handler of its own; any other is a bug."""
    return any(kind in HANDLERS for kind in type(problem).__mro__ if kind is not Exception)
