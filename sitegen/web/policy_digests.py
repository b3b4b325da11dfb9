"""Does the manager have the policy that a worker reports by its digest? Asks the database once an hour for each worker.

Reports of all workers come through here, so it costs them no query.
"""

import time
from collections.abc import Callable

from sitegen.storage import policy_store
from sitegen.storage.store import Store
from sitegen.web.db_timeout import in_thread
from sitegen.web.ingest import Ingest

KNOWN_FOR = 3600.0
"""Seconds until the database is asked again, which another manager, `forget` or a restored backup may have changed."""

ASKED_FOR = 600.0
"""Seconds until a worker is asked again for a policy that it did not send, or that was rejected."""


class PolicyDigests:
    """The digests of the stored policies. For the event loop alone; `clock` returns seconds."""

    def __init__(self, store: Store, ingest: Ingest, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._ingest = ingest
        self._clock = clock
        self._known: dict[str, tuple[float, str | None]] = {}
        self._asked: dict[str, tuple[float, str]] = {}

    async def wanted(self, worker: str, reported: str | None) -> bool:
        """Return whether to ask a worker for its policy, of which it reports this digest, None for none."""
        known = await self._stored(worker)
        if reported == known:
            return False
        if reported is None:
            await self._ingest.change(worker, policy_store.remove, worker)
            self.stored(worker, None)
            return False
        at, asked = self._asked.get(worker, (0.0, ""))
        if asked == reported and self._clock() < at + ASKED_FOR:
            return False
        self._asked[worker] = self._clock(), reported
        return True

    def stored(self, worker: str, digest: str | None) -> None:
        """Remember the digest of the policy that was just stored; None if there is none."""
        self._known[worker] = self._clock(), digest

    async def _stored(self, worker: str) -> str | None:
        at, digest = self._known.get(worker, (0.0, None))
        if worker not in self._known or self._clock() >= at + KNOWN_FOR:
            digest = await in_thread(policy_store.digest, self._store, worker)
            self.stored(worker, digest)
        return digest
