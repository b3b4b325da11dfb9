"""Whose a token is, without asking the database about every request."""

import threading
import time
from collections.abc import Callable

from sitegen.messages.model import Token
from sitegen.storage import token_store
from sitegen.storage.store import Store
from sitegen.storage.token_store import digest_of

REMEMBERED = 1.0
"""Seconds for which a token is trusted without asking the database again."""


class TokenCache:
    """Whose a token is, remembered for a second, so that a revocation works without a restart.

    Once that is over, one look at the database tells of all tokens that were used, however many these are. May be used
    from any thread.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, Token] = {}
        self._since = 0.0

    def holder(self, secret: str) -> Token | None:
        """The valid token with this secret, None for any other."""
        if found := self.remembered(secret):
            return found
        key = digest_of(secret)
        with self._lock:  # who comes while somebody looks finds what that one found
            if not self._is_fresh():
                now = self._clock()
                self._known = token_store.find_all(self._store, {key, *self._known}, now)
                self._since = now
            elif key not in self._known:
                self._known |= token_store.find_all(self._store, {key}, self._clock())
            return self._known.get(key)

    def remembered(self, secret: str) -> Token | None:
        """The same without asking the database, None when that would be needed."""
        return self._known.get(digest_of(secret)) if self._is_fresh() else None

    def _is_fresh(self) -> bool:
        return self._since <= self._clock() < self._since + REMEMBERED
