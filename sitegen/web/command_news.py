"""What a worker's held request waits for: commands, and a webhook's wake number."""

import threading
import time
from typing import NamedTuple

from sitegen.messages.commands import Fetched
from sitegen.storage import command_store, wake_store
from sitegen.storage.store import Store

LOOK_EVERY = 1.0
"""Seconds between two looks for what another manager of the same database received."""


class NewestNumbers:
    """The newest command number of each worker and the wake number, queried every LOOK_EVERY seconds at most for all
    held requests."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._found: tuple[float, dict[str, int], int] = -LOOK_EVERY, {}, 0

    def of(self, worker: str) -> tuple[int, int]:
        """Return the number of the newest command of a worker, 0 without any, and the wake number."""
        # The lock is held during the queries: requests that wait for it use the same answer.
        with self._lock:
            now = time.monotonic()
            if now - self._found[0] >= LOOK_EVERY:
                self._found = now, command_store.newest(self._store), wake_store.read(self._store)
            return self._found[1].get(worker, 0), self._found[2]


class News(NamedTuple):
    """What a held request found: commands, and the wake number, None if webhooks are off."""

    fetched: Fetched
    wake: int | None

    def is_news(self, known: int | None) -> bool:
        """Return whether there are commands, or a wake number other than the one that the worker knows, if any."""
        return bool(self.fetched.commands) or (None not in (self.wake, known) and self.wake != known)

    def is_behind(self, newest: int, wake: int) -> bool:
        """Return whether there is a newer command or another wake number since."""
        return newest > self.fetched.newest or self.wake not in (None, wake)
