"""The routes to which tunasync's workers and `tunasynctl` write, at the root; only for listed addresses."""

import logging
import time

from starlette.requests import Request
from starlette.responses import Response

from schemas.names import is_name
from sitegen.messages import tunasync_rules
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import TUNASYNC, AuditEntry
from sitegen.messages.tunasync_rules import BadName, Message
from sitegen.storage import tunasync_rejected, tunasync_store
from sitegen.storage.store import Store
from sitegen.storage.tunasync_posts import Post
from sitegen.web import access, endpoint
from sitegen.web.access import Access
from sitegen.web.db_timeout import in_thread
from sitegen.web.endpoint import Endpoint
from sitegen.web.ingest import Ingest
from sitegen.web.responses import for_all

_log = logging.getLogger(__name__)


class TunasyncWrites:
    """Tunasync's writing routes, except commands."""

    def __init__(self, store: Store, who: Access, ingest: Ingest) -> None:
        self._store = store
        self._access = who
        self._ingest = ingest

    def endpoints(self) -> list[Endpoint]:
        """Return the rows of these routes."""
        listed, job = endpoint.LISTED, "/workers/{worker}/jobs/{mirror}"
        refused = (400, 413)
        return [
            Endpoint(
                "POST", "/workers", self.register, "Register a worker, or renew it.", "api#tunasync_worker", listed,
                "api#tunasync_registration", refusals=refused,
            ),
            Endpoint(
                "DELETE", "/workers/{worker}", self.forget, "Remove a worker.", "api#pong", listed, refusals=(400,)
            ),
            Endpoint("DELETE", "/jobs/disabled", self.flush, "Remove disabled mirrors.", "api#pong", listed),
            Endpoint(
                "POST", job, self.status, "Report a mirror's status.", "api#tunasync_status", listed,
                "api#tunasync_report", refusals=refused,
            ),
            Endpoint(
                "POST", f"{job}/size", self.size, "Report a mirror's size.", "api#tunasync_status", listed,
                "api#tunasync_size", refusals=(*refused, 404),
            ),
            Endpoint(
                "POST", "/workers/{worker}/schedules", self.schedules, "Report due times.", "api#nothing", listed,
                "api#tunasync_schedules", refusals=refused,
            ),
        ]  # fmt: skip

    async def register(self, request: Request) -> Response:
        """Register a worker."""
        found = await self._message(request)
        try:
            name = found.name("id", "invalid workerID")
        except BadName as problem:
            _log.warning("rejected a tunasync worker's registration from %s: %s", access.client(request), problem.why)
            raise
        url, token = found.text("url", 2000), found.text("token")
        tunasync_rules.check_times(found, "last_online", "last_register")
        times = await self._ingest.change(name, tunasync_store.register, name, url, time.time_ns())
        return for_all({"id": name, "url": url, "token": token, **times})

    async def status(self, request: Request) -> Response:
        """Store a mirror's status."""
        self._access.may_write_tunasync(request)
        return await self.take(request, request.path_params["worker"], request.path_params["mirror"])

    async def take(self, request: Request, worker: str, mirror: str) -> Response:
        """Store a mirror's status, from a client that may write it; answers once it is on disk."""
        found = tunasync_rules.message(await self._access.body(request))
        try:
            tunasync_rules.named(found, mirror)
        except BadName as problem:
            if await in_thread(tunasync_rejected.add, self._store, _known(worker), problem.name, found.status()):
                self._ingest.announce()
            raise
        return for_all(await self._ingest.post(Post(_known(worker), mirror, found, time.time_ns())))

    async def size(self, request: Request) -> Response:
        """Store a mirror's size."""
        found = await self._message(request)
        mirror, size = tunasync_rules.named(found, request.path_params["mirror"]), found.text("size", 100)
        if not size:
            raise RejectedRequest(400, "`size` is missing")
        # workers do not send this, only `tunasynctl set-size` does: so it belongs in the audit
        who = by(request)._replace(action="set size")
        worker, changed = _worker(request), {"size": size}
        job = await self._ingest.change(worker, tunasync_store.alter, worker, mirror, changed, time.time_ns(), who)
        return for_all(job)

    async def schedules(self, request: Request) -> Response:
        """Store the times at which runs are due."""
        items = tunasync_rules.parts(await self._message(request), "schedules")
        times = {item.text("name"): item.time("next_schedule") for item in items}
        worker = _worker(request)
        await self._ingest.change(worker, tunasync_store.schedule, worker, times, time.time_ns())
        return for_all({})

    async def forget(self, request: Request) -> Response:
        """Remove a worker."""
        self._access.may_write_tunasync(request)
        worker = _worker(request)
        await self._ingest.change(worker, tunasync_store.forget, worker, by(request))
        return for_all({"message": "deleted"})

    async def flush(self, request: Request) -> Response:
        """Remove disabled mirrors."""
        self._access.may_write_tunasync(request)
        await self._ingest.change("", tunasync_store.flush, by(request))
        return for_all({"message": "flushed"})

    async def _message(self, request: Request) -> Message:
        self._access.may_write_tunasync(request)
        return tunasync_rules.message(await self._access.body(request))


def by(request: Request) -> AuditEntry:
    """Return the author of a change for the audit, who is known by address only."""
    return AuditEntry(time.time(), TUNASYNC, "", "", access.client(request), {})


def _worker(request: Request) -> str:
    return _known(request.path_params["worker"])


def _known(name: str) -> str:
    """Return a worker's name; RejectedRequest (400) when it is not valid."""
    if not is_name(name):
        raise RejectedRequest(400, f"invalid workerID {name[:100]}")
    return name
