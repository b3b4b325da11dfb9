"""The workers' tokens: made here, shown once, kept only as a digest."""

import hashlib
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime

from schemas.errors import SkipjackError
from schemas.names import is_name
from schemas.records import ManagerSettings
from sitegen import output
from sitegen.store import Store

REMEMBERED = 1.0
"""Seconds for which a token is trusted without asking the database again."""


def digest(secret: str) -> str:
    """What is kept of a token. It has 256 random bits, so a plain hash cannot be searched."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add(settings: ManagerSettings, worker: str) -> None:
    """Make a token for `worker` and print it alone on stdout, ready to be piped into a file."""
    if not is_name(worker):
        raise SkipjackError(f"`{worker}` cannot name a worker.", "Use letters, digits, `.`, `_` and `-`.")
    secret = secrets.token_urlsafe(32)
    with Store(settings.state_dir) as store:
        number = store.add_token(worker, digest(secret), time.time())
    output.result(secret)
    output.note(f"Token {number} for worker {worker}. It is shown only now; keep it in a file of the worker.")


def show(settings: ManagerSettings) -> None:
    """Print a table of all tokens."""
    with Store(settings.state_dir) as store:
        tokens = store.tokens()
    output.result(f"{'ID':<5} {'WORKER':<24} {'CREATED':<20} REVOKED")
    for token in tokens:
        revoked = _moment(token.revoked_at) if token.revoked_at is not None else "-"
        output.result(f"{token.id:<5} {token.worker:<24} {_moment(token.created_at):<20} {revoked}")


def revoke(settings: ManagerSettings, number: int) -> None:
    """Make one token worthless; serve notices within a second."""
    with Store(settings.state_dir) as store:
        if not store.revoke_token(number, time.time()):
            raise SkipjackError(f"No valid token has the number {number}.", "`skipjack-manager token list` shows them.")
    output.note(f"Token {number} is revoked.")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


class TokenCache:
    """Which worker a token belongs to, remembered for a second, so that a revocation works without a restart."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[str, tuple[str, float]] = {}

    def worker(self, secret: str) -> str | None:
        """The worker of a valid token, None for any other."""
        key, now = digest(secret), self._clock()
        worker, until = self._known.get(key, ("", 0.0))
        if now < until:
            return worker
        found = self._store.worker_of_token(key)
        self._known.pop(key, None)
        if found is not None:
            self._known[key] = (found, now + REMEMBERED)
        return found
