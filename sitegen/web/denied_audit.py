"""Refused attempts to control, counted and kept in the audit.

Anybody can make such attempts, as many as they like. So they cost no more than a look into a dict, a minute makes a few
lines whatever happens in it, and the audit keeps only so many of them. Nothing of what was sent is kept but
names in a path, cut and escaped.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

from starlette.requests import Request
from starlette.responses import Response

from schemas.addresses import without_secrets
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import TUNASYNC, AuditEntry
from sitegen.storage import audit_store
from sitegen.storage.store import Store, StoreError
from sitegen.web import access, endpoint
from sitegen.web.access import Access
from sitegen.web.endpoint import Endpoint
from sitegen.web.limits import subscriber

EVERY = 60.0
"""Seconds of which the attempts are counted together."""

MOST_LINES = 20
"""Kinds of attempts that are told apart in that time; the others share one more line."""

PARTING = 2.0
"""Seconds for which the end waits until the last ones are kept: a database that hangs holds nothing up."""

OTHERS = "other addresses"

_CONTROLLING = (endpoint.OPERATOR, endpoint.LISTED)

_log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """What is counted together: who tried what from where, and why that was refused."""

    who: str
    action: str
    origin: str
    why: str


class Tally(NamedTuple):
    """How often, from when until when (Unix seconds), and to what the first time."""

    attempts: int
    first: float
    last: float
    subject: str

    def plus(self, other: "Tally") -> "Tally":
        """Both together."""
        subject = min(self, other, key=lambda tally: tally.first).subject
        first, last = min(self.first, other.first), max(self.last, other.last)
        return Tally(self.attempts + other.attempts, first, last, subject)


_ALL_OTHERS = Kind("-", f"{audit_store.REFUSED}control", OTHERS, "")


class Refusals:
    """Counts refused attempts, and while it is entered keeps them in a thread. For any thread."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._counted: dict[Kind, Tally] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="refusals", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(PARTING)

    def watched(self, row: Endpoint, who: Access) -> Endpoint:
        """A row of the API of which attempts are counted if it controls anything."""
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

    def count(self, kind: Kind, subject: str) -> None:
        """Count one attempt."""
        now = self._clock()
        with self._lock:
            self._add(kind, Tally(1, now, now, subject))

    def keep(self) -> None:
        """Write down what was counted since the last time. What cannot be written is counted on."""
        with self._lock:
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
            _log.error("Refused attempts could not be kept, the next try is in %g s: %s", EVERY, error)

    def _add(self, kind: Kind, tally: Tally) -> None:
        if kind not in self._counted and len(self._counted) >= MOST_LINES:
            kind, tally = _ALL_OTHERS, tally._replace(subject="")
        before = self._counted.get(kind)
        self._counted[kind] = before.plus(tally) if before else tally

    def _work(self) -> None:
        while not self._ended.wait(EVERY):
            self.keep()
        self.keep()


def _attempt(row: Endpoint, who: Access, request: Request, refusal: RejectedRequest) -> tuple[Kind, str]:
    name = TUNASYNC if row.access == endpoint.LISTED else who.known_as(request)
    why = "no valid token" if refusal.status == 401 else without_secrets(refusal.why)
    if refusal.status == 401 and not access.shows_token(request):
        why = "no token"
    subject = "/".join(map(str, request.path_params.values()))
    origin = subscriber(access.client(request))
    return Kind(name, f"{audit_store.REFUSED}{row.method} {row.path}", _safe(origin), _safe(why, 300)), _safe(subject)


def _safe(text: str, most: int = 100) -> str:
    """Cut, and with nothing in it that a terminal would obey."""
    return json.dumps(text[:most])[1:-1]


def _entry(kind: Kind, tally: Tally) -> AuditEntry:
    details: dict[str, Any] = {"attempts": tally.attempts, "last_at": tally.last}
    if kind.why:
        details["why"] = kind.why
    return AuditEntry(tally.first, kind.who, kind.action, tally.subject, kind.origin, details)
