"""What is so now, read from the store when somebody asks: facts, the judged site, and answers kept for a second."""

import threading
import time
from collections.abc import Callable
from typing import Any

from sitegen.messages.model import Facts
from sitegen.site.evaluate import Evaluator
from sitegen.site.snapshot import Snapshot
from sitegen.storage.store import Store
from sitegen.web.responses import Json, Written


class Current:
    """Reads only what has changed since the last time. May be used from any thread."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.RLock()
        self._facts: Facts | None = None
        self._evaluator = Evaluator()
        self._counted = 0, 0
        self._written: dict[str, tuple[tuple[int, int], Written]] = {}

    def changes(self) -> int:
        """The number of the newest change, looked up once a second at most for all that ask."""
        with self._lock:
            second = int(self._clock())
            if self._counted[0] != second:
                self._counted = second, self._store.changes()
            return self._counted[1]

    def newest(self) -> int:
        """The same, as it is at this moment."""
        return self._store.changes()

    def facts(self) -> Facts:
        """Everything that may be told."""
        with self._lock:
            self._facts = self._store.facts(self._facts)
            return self._facts

    def snapshot(self) -> Snapshot:
        """The whole site as it is judged now."""
        with self._lock:
            return self._evaluator.evaluate(self.facts(), self._clock())

    def written(self, name: str, make: Callable[[Snapshot], Any]) -> Written:
        """An answer that is made anew after a change and once a second at most; `make` gives JSON or bytes."""
        with self._lock:
            key = self._store.changes(), int(self._clock())
            before = self._written.get(name)
            if before is None or before[0] != key:
                before = None
                self._written.pop(name, None)  # two of ten thousand mirrors at once would be much
                made = make(self.snapshot())
                before = key, Written(made if isinstance(made, bytes) else bytes(Json(made).body))
                self._written[name] = before
            return before[1]
