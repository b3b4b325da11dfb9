"""Tokens: made here, shown once, kept only as a digest. Their scope says what their holder may do."""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable

from schemas.errors import SkipjackError
from schemas.names import is_name
from schemas.records import ManagerSettings
from sitegen import audit, output, token_store
from sitegen.audit import moment
from sitegen.model import Entry, Token
from sitegen.store import Store

REMEMBERED = 1.0
"""Seconds for which a token is trusted without asking the database again."""

_NONE_SUCH = "`skipjack-manager token list` shows them."


def digest(secret: str) -> str:
    """What is kept of a token. It has 256 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add(settings: ManagerSettings, name: str, scope: str) -> None:
    """Make a token for `name` and print it alone on stdout, ready to be piped into a file."""
    if not is_name(name):
        raise SkipjackError(f"`{name}` cannot name a worker or a person.", "Use letters, digits, `.`, `_` and `-`.")
    secret = secrets.token_urlsafe(32)
    with Store(settings.state_dir, settings.database) as store:
        number = token_store.add(store, name, scope, digest(secret), _by("token add"))
    output.result(secret)
    output.note(f"Token {number} for {scope} {name}. It is shown only now; keep it in a file.")


def rotate(settings: ManagerSettings, number: int, keep: float) -> None:
    """Make a token like that of `number`, which is valid beside it for `keep` seconds more, and print it alone."""
    secret = secrets.token_urlsafe(32)
    by = _by("token rotate")
    with Store(settings.state_dir, settings.database) as store:
        new = token_store.rotate(store, number, digest(secret), keep, by)
    if new is None:
        raise SkipjackError(f"No valid token has the number {number}.", _NONE_SUCH)
    output.result(secret)
    output.note(f"Token {new.id} for {new.scope} {new.name}. Token {number} ends {moment(by.at + keep)} at the latest.")


def show(settings: ManagerSettings) -> None:
    """Print a table of all tokens."""
    with Store(settings.state_dir, settings.database) as store:
        tokens = token_store.every(store)
    output.result(f"{'ID':<5} {'NAME':<24} {'SCOPE':<9} {'CREATED':<20} {'EXPIRES':<20} REVOKED")
    for token in tokens:
        times = f"{moment(token.created_at):<20} {moment(token.expires_at):<20} {moment(token.revoked_at)}"
        output.result(f"{token.id:<5} {token.name:<24} {token.scope:<9} {times}")


def revoke(settings: ManagerSettings, number: int) -> None:
    """Make one token worthless; serve notices within a second."""
    with Store(settings.state_dir, settings.database) as store:
        if not token_store.revoke(store, number, _by("token revoke")):
            raise SkipjackError(f"No valid token has the number {number}.", _NONE_SUCH)
    output.note(f"Token {number} is revoked.")


def _by(action: str) -> Entry:
    return Entry(time.time(), audit.person(), action, "", "command line", {})


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
        key = digest(secret)
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
        return self._known.get(digest(secret)) if self._is_fresh() else None

    def _is_fresh(self) -> bool:
        return self._since <= self._clock() < self._since + REMEMBERED
