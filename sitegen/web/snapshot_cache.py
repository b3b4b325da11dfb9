"""The present state of the site, read from the store on demand: facts, snapshot, and answers cached for a second."""

import threading
import time
from collections.abc import Callable
from typing import Any

from sitegen.messages.model import Facts
from sitegen.site.evaluate import Evaluator
from sitegen.site.snapshot import Snapshot
from sitegen.storage.store import Store
from sitegen.web.responses import CachedBody, Json


class SnapshotCache:
    """Reads only what has changed since the last call. For any thread."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        # Reentrant, because what `written` calls uses the other methods.
        self._lock = threading.RLock()
        self._facts: Facts | None = None
        self._evaluator = Evaluator()
        self._counted = 0, 0
        self._written: dict[str, tuple[tuple[int, int], CachedBody]] = {}

    def changes(self) -> int:
        """Return the number of the last change, queried once a second at most."""
        with self._lock:
            second = int(self._clock())
            if self._counted[0] != second:
                self._counted = second, self._store.changes()
            return self._counted[1]

    def newest(self) -> int:
        """Return the number of the last change, queried now."""
        return self._store.changes()

    def facts(self) -> Facts:
        """Return all facts that are in the store."""
        with self._lock:
            self._facts = self._store.facts(self._facts)
            return self._facts

    def snapshot(self) -> Snapshot:
        """Return the whole site as it is judged now."""
        with self._lock:
            return self._evaluator.evaluate(self.facts(), self._clock())

    def written(self, name: str, make: Callable[[Snapshot], Any]) -> CachedBody:
        """Return a cached answer, made again after a change and in each second; `make` returns JSON or bytes."""
        with self._lock:
            key = self._store.changes(), int(self._clock())  # with the second, since freshness changes by time alone
            before = self._written.get(name)
            if before is None or before[0] != key:
                before = None
                self._written.pop(name, None)  # before the next is made: two lists of ten thousand mirrors need memory
                made = make(self.snapshot())
                before = key, CachedBody(made if isinstance(made, bytes) else bytes(Json(made).body))
                self._written[name] = before
            return before[1]
