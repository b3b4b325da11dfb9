"""Denied attempts to control, counted and written to the audit.

Anyone can make any number of them. So each costs one dict look-up, a minute makes a bounded number of lines, and the
audit keeps a bounded number of those. Of a request only the names in its path are kept, cut and escaped.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from schemas.addresses import without_secrets
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import TUNASYNC, AuditEntry
from sitegen.scoped_thread import ScopedThread
from sitegen.storage import audit_store
from sitegen.storage.store import Store, StoreError
from sitegen.web import access, endpoint
from sitegen.web.access import Access
from sitegen.web.endpoint import Endpoint
from sitegen.web.limits import subscriber

EVERY = 60.0
"""Seconds of attempts that make one line."""

MOST_LINES = 20
"""Kinds of attempts with a line of their own in that time; the others share one more line."""

PARTING = 2.0
"""Seconds that the program waits at its end for the last lines to be written: the database may hang."""

OTHERS = "other addresses"

_CONTROLLING = (endpoint.OPERATOR, endpoint.LISTED, endpoint.SIGNED)

_log = logging.getLogger(__name__)


class AttemptKind(NamedTuple):
    """Attempts that are counted together: who tried what from where, and why that was denied."""

    who: str
    action: str
    origin: str
    why: str


class AttemptTally(NamedTuple):
    """The number of attempts, the first and last time (Unix seconds), and the subject of the first one."""

    attempts: int
    first: float
    last: float
    subject: str

    def plus(self, other: "AttemptTally") -> "AttemptTally":
        """Return the sum of both."""
        subject = min(self, other, key=lambda tally: tally.first).subject
        first, last = min(self.first, other.first), max(self.last, other.last)
        return AttemptTally(self.attempts + other.attempts, first, last, subject)


_ALL_OTHERS = AttemptKind("-", f"{audit_store.REFUSED}control", OTHERS, "")


class DeniedAttempts(ScopedThread):
    """Counts denied attempts, and from enter to exit writes them to the audit in a thread. For any thread."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        super().__init__("refusals", patience=PARTING)
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._counted: dict[AttemptKind, AttemptTally] = {}

    def watched(self, row: Endpoint, who: Access) -> Endpoint:
        """Return a row whose denied requests are counted, if it is one that controls."""
        if row.access not in _CONTROLLING:
            return row

        async def handler(request: Request) -> Response:
            try:
                answer: Response = await row.handler(request)
            except RejectedRequest as refusal:
                if refusal.status in (401, 403):
                    self.count(*_attempt(row, who, request, refusal))
                raise
            return answer

        return row._replace(handler=handler)

    def count(self, kind: AttemptKind, subject: str) -> None:
        """Count one attempt."""
        now = self._clock()
        with self._lock:
            self._add(kind, AttemptTally(1, now, now, subject))

    def write(self) -> None:
        """Write the attempts since the last call to the audit. If that fails, they are written with the next ones."""
        with self._lock:  # not held while writing: the database may hang, and requests count here
            counted, self._counted = self._counted, {}
        if not counted:
            return
        try:
            with self._store.transaction(writing=True) as tx:
                for kind, tally in counted.items():
                    audit_store.write(tx, _entry(kind, tally))
        except StoreError as error:
            with self._lock:
                for kind, tally in counted.items():
                    self._add(kind, tally)
            _log.error("cannot write denied attempts to the audit, retrying in %g s: %s", EVERY, error)

    def _add(self, kind: AttemptKind, tally: AttemptTally) -> None:
        if kind not in self._counted and len(self._counted) >= MOST_LINES:
            kind, tally = _ALL_OTHERS, tally._replace(subject="")
        before = self._counted.get(kind)
        self._counted[kind] = before.plus(tally) if before else tally

    def _work(self) -> None:
        while not self._ended.wait(EVERY):
            self.write()
        self.write()


def _attempt(row: Endpoint, who: Access, request: Request, refusal: RejectedRequest) -> tuple[AttemptKind, str]:
    name = TUNASYNC if row.access == endpoint.LISTED else who.known_as(request)
    why = "no valid token" if refusal.status == 401 else without_secrets(refusal.why)
    if refusal.status == 401 and not access.shows_token(request):
        why = "no token"
    subject = "/".join(map(str, request.path_params.values()))
    origin = subscriber(access.client(request))
    action = f"{audit_store.REFUSED}{row.method} {row.path}"
    return AttemptKind(name, action, _safe(origin), _safe(why, 300)), _safe(subject)


def _safe(text: str, most: int = 100) -> str:
    """Return the beginning of a text, with control characters escaped."""
    return json.dumps(text[:most])[1:-1]


def _entry(kind: AttemptKind, tally: AttemptTally) -> AuditEntry:
    details: dict[str, Any] = {"attempts": tally.attempts, "last_at": tally.last}
    if kind.why:
        details["why"] = kind.why
    return AuditEntry(tally.first, kind.who, kind.action, tally.subject, kind.origin, details)
