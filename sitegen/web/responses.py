"""The forms of answers: JSON, and an error as one sentence under `error`, whatever went wrong."""

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
from sitegen.web.pending_reports import NotKept

FOR_ALL = {"Access-Control-Allow-Origin": "*"}
"""Pages of any site may read the answer."""

_log = logging.getLogger(__name__)


class Json(JSONResponse):
    """JSON that says its encoding, as tunasync's does."""

    media_type = "application/json; charset=utf-8"


def for_all(content: Any, status: int = 200) -> Response:
    """An answer that pages of any site may read."""
    return Json(content, status, headers=FOR_ALL)


class Written:
    """JSON that was written before, and is told many times."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    @cached_property
    def packed(self) -> bytes:
        """The same with gzip, made when it is first wanted; a list of mirrors shrinks to a twentieth."""
        return gzip.compress(self.body, 1)


def raw(request: Request, written: Written) -> Response:
    """An answer that pages of any site may read, packed for whoever can unpack it."""
    headers = FOR_ALL | {"Vary": "Accept-Encoding"}
    if _takes_gzip(request.headers.get("accept-encoding", "")):
        return Response(written.packed, media_type=Json.media_type, headers=headers | {"Content-Encoding": "gzip"})
    return Response(written.body, media_type=Json.media_type, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Whether gzip is among the encodings that a header lists, and not with a weight of nothing."""
    weights = {
        name.strip(): weight.strip() for name, _, weight in (part.partition(";") for part in accepted.split(","))
    }
    return "gzip" in weights and not _NOTHING.fullmatch(weights["gzip"])


_NOTHING = re.compile(r"q=0(\.0*)?")


def error(status: int, why: str, headers: Any = None) -> Response:
    """An error's answer."""
    return Json({"error": why}, status_code=status, headers=headers)


async def _refused(_request: Request, problem: Exception) -> Response:
    if not isinstance(problem, RejectedRequest):
        raise problem
    headers = {401: {"WWW-Authenticate": "Bearer"}, 408: {"Connection": "close"}}.get(problem.status)
    return error(problem.status, problem.why, headers)


def not_kept(problem: Exception) -> Response:
    """The answer to a report that has to be sent again."""
    return error(503, str(problem), {"Retry-After": "10"})


async def _not_kept(_request: Request, problem: Exception) -> Response:
    return not_kept(problem)


async def _unreadable(_request: Request, problem: Exception) -> Response:
    _log.error("%s", problem)
    public = f": {problem.public}" if isinstance(problem, StoreError) and problem.public else ""
    return error(503, f"the manager's database cannot be used now{public}", {"Retry-After": "10"})


async def _gone(_request: Request, _gone: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


async def _http_error(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, HTTPException):
        raise problem
    without_slash = _without_slash(request) if problem.status_code == 404 else None
    if without_slash is not None:
        return RedirectResponse(without_slash)
    return error(problem.status_code, problem.detail.lower(), problem.headers)


def _without_slash(request: Request) -> str | None:
    """Where a path without its last slash leads, None when that is nowhere.

    It names no host: the request's `Host` says only what the client wrote there.
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
        return error(503, "the manager's machine cannot do this now; the manager's log says why", {"Retry-After": "10"})
    return error(500, "this is a bug of the manager; its log has the traceback")


HANDLERS = {
    RejectedRequest: _refused,
    NotKept: _not_kept,
    StoreError: _unreadable,
    ClientDisconnect: _gone,
    HTTPException: _http_error,
    Exception: _bug,
}
"""What Starlette calls for which exception."""


async def of(request: Request, problem: Exception) -> Response:
    """The answer to an exception, as Starlette would find it."""
    handler = next(HANDLERS[kind] for kind in type(problem).__mro__ if kind in HANDLERS)
    answer: Response = await handler(request, problem)
    return answer


def is_expected(problem: Exception) -> bool:
    """Whether an exception has an answer of its own; any other is a bug."""
    return any(kind in HANDLERS for kind in type(problem).__mro__ if kind is not Exception)
