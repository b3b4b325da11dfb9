"""`POST /api/v1/webhook`: a forge reports a push, and the manager and all workers look for it at once.

A webhook only wakes. Its content is not read, so a forged, repeated or late one can change nothing but the time of a
fetch.
"""

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from sitegen.messages.envelope import RejectedRequest
from sitegen.storage import wake_store
from sitegen.storage.store import Store
from sitegen.web import endpoint, webhook_signature
from sitegen.web.access import Access
from sitegen.web.db_timeout import in_thread
from sitegen.web.endpoint import Endpoint
from sitegen.web.responses import Json

EVERY = 1.0
"""Seconds between two wake-ups at least; webhooks that arrive meanwhile share the next one."""

_SAME_SECRET = "set the webhook's secret in the forge to that of `webhook.secret`"  # noqa: S105 - a message


class WebhookApi:
    """The route for webhooks, which are signed with `secret`; `announce` wakes the held requests of all workers."""

    def __init__(self, store: Store, who: Access, secret: str, announce: Callable[[], None]) -> None:
        self._store = store
        self._access = who
        self._secret = secret
        self._announce = announce
        self._one_at_a_time = asyncio.Lock()
        self._woken_at = float("-inf")
        self._number = 0

    def endpoints(self) -> list[Endpoint]:
        """Return the row of this route."""
        return [
            Endpoint(
                "POST", "/api/v1/webhook", self.take, "Fetch the config repository now, on all machines: a webhook.",
                "api#woken", endpoint.SIGNED, refusals=(403, 408, 413),
            ),
        ]  # fmt: skip

    async def take(self, request: Request) -> Response:
        """Wake everybody who follows the repository, if the request is signed."""
        if not webhook_signature.is_signed(request.headers):
            raise RejectedRequest(403, f"the webhook is not signed: {_SAME_SECRET}")
        if not await webhook_signature.is_genuine(request.headers, self._access.parts(request), self._secret):
            raise RejectedRequest(403, f"the webhook's signature is wrong: {_SAME_SECRET}")
        return Json({"wake": await self._wake()})

    async def _wake(self) -> int:
        """Return the number of a wake-up that comes after this call."""
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        async with self._one_at_a_time:
            if self._woken_at < arrived:  # else one of those that waited before has woken since
                await asyncio.sleep(self._woken_at + EVERY - loop.time())
                self._number = await in_thread(wake_store.raise_number, self._store)
                self._woken_at = loop.time()
                self._announce()
            return self._number
