"""The HTTP side: who may say what, and which answer is given. The only module that knows about requests."""

import logging
import threading
import time
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sitegen import envelope, tunasync
from sitegen.envelope import Refused
from sitegen.ingest import Ingest, NotKept
from sitegen.judge import Judge
from sitegen.model import Delivery, Facts
from sitegen.snapshot import Snapshot
from sitegen.store import Store, StoreError
from sitegen.token_store import WORKER
from sitegen.tokens import TokenCache

LARGE = 64 * 1024
"""Bytes of a body from which checking it could hold up other requests, so it is done in a thread."""


_FOR_ALL = {"Access-Control-Allow-Origin": "*"}

_log = logging.getLogger(__name__)


class _Json(JSONResponse):
    media_type = "application/json; charset=utf-8"


class _Routes:
    """The endpoints, with what they work on."""

    def __init__(self, store: Store, ingest: Ingest, body_limit: int) -> None:
        self._store = store
        self._ingest = ingest
        self._body_limit = body_limit
        self._tokens = TokenCache(store)
        self._lock = threading.RLock()
        self._facts: Facts | None = None
        self._judge = Judge()
        self._jobs: tuple[object, bytes | memoryview] = None, b""

    async def reports(self, request: Request) -> Response:
        """Take a worker's envelope; answer once it is on disk."""
        worker = self._worker(request)
        body = await self._body(request)
        read = envelope.read(body) if len(body) < LARGE else await run_in_threadpool(envelope.read, body)
        if read.worker != worker:
            raise Refused(403, f"the token is for worker {worker}, not for {read.worker}")
        answer = await self._ingest.keep(Delivery(read, time.time()))
        want = "snapshot" if answer.snapshot_wanted else None
        return _Json({"acknowledged": answer.acknowledged, "want": want, "time": time.time()})

    def jobs(self, _request: Request) -> Response:
        """Tunasync's list of all mirrors, made anew after a change and once a second at most."""
        with self._lock:
            key = self._store.changes(), int(time.time())
            if self._jobs[0] != key:
                self._jobs = key, _Json(tunasync.jobs(self._snapshot())).body
            return Response(self._jobs[1], media_type=_Json.media_type, headers=_FOR_ALL)

    def workers(self, _request: Request) -> Response:
        """Tunasync's list of workers."""
        return _open(tunasync.workers(self._store.facts().workers))

    def worker_jobs(self, request: Request) -> Response:
        """Tunasync's list of one worker's mirrors."""
        name = request.path_params["worker"]
        found = self._snapshot()
        if not any(worker.name == name for worker in found.workers):
            raise Refused(400, f"invalid workerID {name}")
        return _open(tunasync.worker_jobs(found, name))

    def _snapshot(self) -> Snapshot:
        with self._lock:
            self._facts = self._store.facts(self._facts)
            return self._judge.judge(self._facts, time.time())

    def _worker(self, request: Request) -> str:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        token = self._tokens.holder(secret.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            raise Refused(401, "a valid token is needed: `Authorization: Bearer TOKEN`")
        if token.scope != WORKER:
            raise Refused(403, f"the token's scope is {token.scope}, and only a worker may do this")
        return token.name

    async def _body(self, request: Request) -> bytes:
        """Read the body, but never more of it than is allowed."""
        too_large = Refused(413, f"the body is larger than {self._body_limit} bytes")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._body_limit:
            raise too_large
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > self._body_limit:
                raise too_large
        return bytes(body)


def application(store: Store, ingest: Ingest, body_limit: int) -> Starlette:
    """The ASGI application."""
    routes = _Routes(store, ingest, body_limit)
    return Starlette(
        routes=[
            Route("/api/v1/reports", routes.reports, methods=["POST"]),
            Route("/ping", _ping),
            Route("/jobs", routes.jobs),
            Route("/workers", routes.workers),
            Route("/workers/{worker}/jobs", routes.worker_jobs),
        ],
        exception_handlers={
            Refused: _refused,
            NotKept: _not_kept,
            StoreError: _unreadable,
            ClientDisconnect: _gone,
            HTTPException: _http_error,
            Exception: _bug,
        },
    )


async def _ping(_request: Request) -> Response:
    return _open({"message": "pong"})


def _open(content: Any) -> Response:
    """An answer that pages of any site may read."""
    return _Json(content, headers=_FOR_ALL)


def _error(status: int, why: str, headers: Any = None) -> Response:
    return _Json({"error": why}, status_code=status, headers=headers)


async def _refused(_request: Request, error: Exception) -> Response:
    if not isinstance(error, Refused):
        raise error
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return _error(error.status, error.why, headers)


async def _not_kept(_request: Request, error: Exception) -> Response:
    return _error(503, str(error), {"Retry-After": "10"})


async def _unreadable(_request: Request, error: Exception) -> Response:
    _log.error("%s", error)
    return _error(503, "the manager's database cannot be used now", {"Retry-After": "10"})


async def _gone(_request: Request, _gone: Exception) -> Response:
    return Response(status_code=400)  # nobody is there to read it


async def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return _error(error.status_code, error.detail.lower(), error.headers)


async def _bug(_request: Request, _bug: Exception) -> Response:
    return _error(500, "this is a bug of the manager; its log has the traceback")
