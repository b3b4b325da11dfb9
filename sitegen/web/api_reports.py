"""`POST /api/v1/reports`: workers send their reports."""

import json
import time

from starlette.requests import Request
from starlette.responses import Response

from schemas.report import Envelope
from sitegen.messages import envelope
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import Delivery, DeliveryAcknowledgement
from sitegen.storage.store import Store
from sitegen.web import endpoint
from sitegen.web.access import Access
from sitegen.web.db_timeout import in_thread
from sitegen.web.endpoint import Endpoint
from sitegen.web.ingest import Ingest
from sitegen.web.policy_digests import PolicyDigests
from sitegen.web.responses import Json

PATH = "/api/v1/reports"

LARGE = 64 * 1024
"""Bytes of a body from which on it is checked in a thread: in the event loop that would delay other requests."""


class ReportsApi:
    """The route for reports. `digests` are those of the policies that workers have sent."""

    def __init__(self, access: Access, ingest: Ingest, store: Store) -> None:
        self._access = access
        self._ingest = ingest
        self._store = store
        self.digests = PolicyDigests(store, ingest)
        self._revision: tuple[int, str | None] = 0, None

    def endpoints(self) -> list[Endpoint]:
        """Return the row of this route."""
        summary = "Send a worker's reports; those that are acknowledged are on disk."
        return [
            Endpoint(
                "POST", PATH, self.take, summary, "api#acknowledged", endpoint.WORKER, "report",
                refusals=(400, 413, 422, 503),
            )
        ]  # fmt: skip

    async def take(self, request: Request) -> Response:
        """Store the envelope of a worker; answers once it is on disk."""
        return await self.answer(request, await self._access.checked(self._access.worker, request))

    async def answer(self, request: Request, worker: str) -> Response:
        """Store the envelope of this worker, whose token was checked; answers once it is on disk."""
        body = await self._access.body(request)
        read = envelope.read(body) if len(body) < LARGE else await in_thread(envelope.read, body)
        answer = await self._ingest.keep(_delivery(read, worker))
        if not self._knows_revision():
            await self._look_up_revision()
        policy_wanted = await self.digests.wanted(worker, read.policy)
        return Response(self._body(answer, policy_wanted=policy_wanted), media_type=Json.media_type)

    def _body(self, answer: DeliveryAcknowledgement, *, policy_wanted: bool) -> bytes:
        """Return the JSON for an answer."""
        want = "snapshot" if answer.snapshot_wanted else None
        plain = {"acknowledged": answer.acknowledged, "want": want, "time": time.time(), "revision": self._revision[1]}
        return _dump(plain | {"policy_wanted": policy_wanted}).encode()

    def _knows_revision(self) -> bool:
        """Return whether the revision in use was queried within this second: one query serves all workers."""
        return self._revision[0] == int(time.time())

    async def _look_up_revision(self) -> None:
        second = int(time.time())
        self._revision = second, self._revision[1]  # requests until the query returns get the previous one
        self._revision = second, await in_thread(self._store.revision)


def _delivery(read: Envelope, worker: str) -> Delivery:
    if read.worker != worker:
        raise RejectedRequest(403, f"the token is for worker {worker}, not for {read.worker}")
    return Delivery(read, time.time())


_dump = json.JSONEncoder(separators=(",", ":")).encode
