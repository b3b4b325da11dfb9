"""`/api/v1/policies`: workers send their exported policies, operators and readers get them."""

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from schemas.config import exported_policy
from schemas.config.exported_policy import ExportedPolicy
from schemas.problems import InvalidConfigError
from sitegen.messages import envelope
from sitegen.messages.envelope import RejectedRequest
from sitegen.storage import policy_store
from sitegen.storage.policy_store import ReportedPolicy
from sitegen.storage.store import Store
from sitegen.web import endpoint
from sitegen.web.access import Access
from sitegen.web.db_timeout import in_thread
from sitegen.web.endpoint import Endpoint
from sitegen.web.ingest import Ingest
from sitegen.web.policy_digests import PolicyDigests
from sitegen.web.responses import Json
from sitegen.web.snapshot_cache import SnapshotCache

_PATH = "/api/v1/policies"


class PoliciesApi:
    """The routes for the policies of workers."""

    def __init__(
        self, store: Store, who: Access, ingest: Ingest, digests: PolicyDigests, current: SnapshotCache
    ) -> None:
        self._store = store
        self._access = who
        self._ingest = ingest
        self._digests = digests
        self._current = current

    def endpoints(self) -> list[Endpoint]:
        """Return the rows of these routes."""
        sending = "Send a worker's exported policy; it is on disk when it is answered."
        return [
            Endpoint(
                "POST", _PATH, self.take, sending, "api#policy_stored", endpoint.WORKER, "exported_policy",
                refusals=(400, 413, 422, 503),
            ),
            Endpoint(
                "GET", _PATH, self.policies, "The exported policies that workers reported.", "api#policies",
                endpoint.READER,
            ),
        ]  # fmt: skip

    async def take(self, request: Request) -> Response:
        """Store the policy of a worker."""
        worker = await self._access.checked(self._access.worker, request)
        # In a thread, since the words for an invalid one take long to find.
        policy = await in_thread(_read, await self._access.body(request))
        if policy.worker != worker:
            raise RejectedRequest(403, f"the token is for worker {worker}, not for {policy.worker}")
        reported = ReportedPolicy(worker, policy.digest, exported_policy.as_plain(policy), time.time())
        await self._ingest.change(worker, policy_store.keep, reported)
        self._digests.stored(worker, policy.digest)
        return Json({"digest": policy.digest})

    def policies(self, request: Request) -> Response:
        """Return all policies, with whether the config repository has them."""
        self._access.reader(request)
        exported = {view.name: view.exported for view in self._current.snapshot().workers}
        return Json(
            {"policies": [_shown(each, exported.get(each.worker)) for each in policy_store.reported(self._store)]}
        )


def _read(body: bytes) -> ExportedPolicy:
    try:
        return exported_policy.from_plain("body", envelope.parse(body))
    except InvalidConfigError as error:
        raise RejectedRequest(422, error.problems[0].what[:500]) from error
    except RecursionError as deep:
        raise RejectedRequest(422, "the body is nested too deeply") from deep


def _shown(policy: ReportedPolicy, exported: str | None) -> dict[str, Any]:
    return {
        "worker": policy.worker,
        "reported_at": policy.reported_at,
        "digest": policy.digest,
        "exported_policy": exported,
        "policy": policy.document,
    }
