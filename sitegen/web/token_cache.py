"""A cache of tokens, so that not every request queries the database."""

import threading
import time
from collections.abc import Callable

from sitegen.messages.model import Token
from sitegen.storage import token_store
from sitegen.storage.store import Store
from sitegen.storage.token_store import digest_of

REMEMBERED = 1.0
"""Seconds for which a token is valid without another query: a revocation takes effect within this time."""


class TokenCache:
    """The tokens that were used within the last second.

    Then one query renews all of them, however many there are. For any thread.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, Token] = {}
        self._since = 0.0

    def holder(self, secret: str) -> Token | None:
        """Return the valid token with this secret, or None."""
        if found := self.remembered(secret):
            return found
        key = digest_of(secret)
        with self._lock:  # requests that wait for the lock find what this one queries
            if not self._is_fresh():
                now = self._clock()
                self._known = token_store.find(self._store, {key, *self._known}, now)
                self._since = now  # the time before the query, so that no token is trusted for longer
            elif key not in self._known:
                self._known |= token_store.find(self._store, {key}, self._clock())
            return self._known.get(key)

    def remembered(self, secret: str) -> Token | None:
        """Return the cached token with this secret, None when the database must be queried."""
        return self._known.get(digest_of(secret)) if self._is_fresh() else None

    def _is_fresh(self) -> bool:
        return self._since <= self._clock() < self._since + REMEMBERED
