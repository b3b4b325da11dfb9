"""The lists that tunasync's clients read, at the root of the manager's URL."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from schemas.addresses import without_secrets
from schemas.terminal import plain
from sitegen.messages.envelope import RejectedRequest
from sitegen.site import tunasync
from sitegen.site.fragments import Fragments
from sitegen.site.snapshot import Snapshot
from sitegen.storage import tunasync_store
from sitegen.storage.store import Store
from sitegen.web import endpoint
from sitegen.web.access import Access
from sitegen.web.endpoint import Endpoint
from sitegen.web.responses import cached, for_all
from sitegen.web.snapshot_cache import SnapshotCache


class TunasyncReads:
    """Tunasync's reading routes."""

    def __init__(self, store: Store, access: Access, current: SnapshotCache) -> None:
        self._store = store
        self._access = access
        self._current = current
        self._fragments = Fragments(tunasync.job)

    def endpoints(self) -> list[Endpoint]:
        """Return the rows of these routes."""
        anyone = endpoint.ANYONE
        return [
            Endpoint("GET", "/jobs", self.jobs, "All mirrors.", "api#tunasync_jobs", anyone),
            Endpoint("GET", "/workers", self.workers, "All workers.", "api#tunasync_workers", anyone),
            Endpoint(
                "GET", "/workers/{worker}/jobs", self.worker_jobs, "One worker's mirrors.", "api#tunasync_statuses",
                anyone, refusals=(400,),
            ),
        ]  # fmt: skip

    def jobs(self, request: Request) -> Response:
        """Return tunasync's list of all mirrors."""
        self._access.may_read(request, "tunasync")
        return cached(request, self._current.written("jobs", self._jobs))

    def _jobs(self, snapshot: Snapshot) -> bytes:
        return b"".join(self._fragments.listed(snapshot))

    def workers(self, request: Request) -> Response:
        """Return tunasync's list of workers."""
        self._access.may_read(request, "tunasync")
        foreign = {
            name: worker | {"url": without_secrets(worker["url"])}
            for name, worker in tunasync_store.workers(self._store).items()
        }
        found = tunasync.workers(self._current.facts().workers)
        return for_all([worker | foreign.get(worker["id"], {}) for worker in found])

    def worker_jobs(self, request: Request) -> Response:
        """Return tunasync's list of one worker's mirrors."""
        self._access.may_read(request, "tunasync")
        name, found = request.path_params["worker"], self._current.snapshot()
        if not any(worker.name == name for worker in found.workers):
            raise RejectedRequest(400, f"invalid workerID {name}")
        if name in tunasync_store.workers(self._store):
            return for_all([_public(job) for job in tunasync_store.jobs(self._store, name)])
        return for_all(tunasync.worker_jobs(found, name))


def _public(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Go worker's job as it was reported, without secrets and control characters."""
    return {**job, **{key: plain(without_secrets(job[key])) for key in ("upstream", "error_msg")}}


async def ping(_request: Request) -> Response:
    """Answer that the manager is running."""
    return for_all({"message": "pong"})
