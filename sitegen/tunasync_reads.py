"""The lists that tunasync's clients read, at the root as these expect them."""

from starlette.requests import Request
from starlette.responses import Response

from sitegen import endpoint, tunasync
from sitegen.access import Access
from sitegen.answers import for_all, raw
from sitegen.current import Current
from sitegen.endpoint import Endpoint
from sitegen.envelope import Refused


class TunasyncReads:
    """Tunasync's reading routes."""

    def __init__(self, access: Access, current: Current) -> None:
        self._access = access
        self._current = current

    def endpoints(self) -> list[Endpoint]:
        """The rows of this part of the API."""
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
        """Tunasync's list of all mirrors."""
        self._access.may_read(request, "tunasync")
        return raw(self._current.written("jobs", tunasync.jobs))

    def workers(self, request: Request) -> Response:
        """Tunasync's list of workers."""
        self._access.may_read(request, "tunasync")
        return for_all(tunasync.workers(self._current.facts().workers))

    def worker_jobs(self, request: Request) -> Response:
        """Tunasync's list of one worker's mirrors."""
        self._access.may_read(request, "tunasync")
        name, found = request.path_params["worker"], self._current.snapshot()
        if not any(worker.name == name for worker in found.workers):
            raise Refused(400, f"invalid workerID {name}")
        return for_all(tunasync.worker_jobs(found, name))


async def ping(_request: Request) -> Response:
    """Say that somebody is there."""
    return for_all({"message": "pong"})
