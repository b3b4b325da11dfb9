"""The publisher's lease on PostgreSQL, which allows one publisher at a time among several machines.

The lease is an advisory lock of one connection. The server frees the lock when it finds the connection dead, 11 seconds
after the last packet; the holder must stop publishing before that. So it renews the lease every BEAT by a query,
notices a broken connection at once, and considers the lease lost after LIFE without an answer. A new holder waits for
HANDOVER before it writes: a server that was restarted has freed the lock, although the old holder may not know yet.
"""

import logging
import select
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from sqlalchemy import Connection, exc

from schemas.errors import SkipjackError
from sitegen.scoped_thread import ScopedThread
from sitegen.storage.dialects import PUBLISHERS_LOCK, Postgresql

BEAT = 0.5
LIFE = 3.0
HANDOVER = LIFE + 2 * BEAT
"""Seconds."""

_PROBES = "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"
"""How the server finds a lost client: three probes, two seconds apart, after 5 seconds of silence."""

# A lock of the session, not of a transaction: the server frees it when the connection ends.
_TRY = f"SELECT pg_try_advisory_lock({PUBLISHERS_LOCK})"
# One query renews the lease and finds changes by other managers, whose wake-ups do not leave their machines.
_ASK = "SELECT value FROM meta WHERE name = 'changes'"

_log = logging.getLogger(__name__)


class LeaseLost(SkipjackError):  # noqa: N818 - the publisher asks for the next lease
    """The lease is lost: nothing may be written any more."""


class Lease(ScopedThread):
    """The lease, held from enter to exit. `wake` is called in a thread when pages have to change and when the lease is
    lost; `standing_by` with the reason while another publisher holds it."""

    def __init__(
        self,
        dialect: Postgresql,
        wake: Callable[[], None],
        *,
        wait: bool,
        standing_by: Callable[[str], None] = lambda _why: None,
    ) -> None:
        # With a limit: the thread may wait for an answer that never comes.
        super().__init__("lease", patience=2 * BEAT)
        self._place = dialect.place
        self._engine = dialect.engine()
        self._wake = wake
        self._wait = wait
        self._standing_by = standing_by
        self._until = 0.0
        self._renewing = threading.Lock()
        self._changes: object = None

    def __enter__(self) -> Self:
        """Take the lease, waiting for it if `wait`; else SkipjackError when another publisher holds it."""
        self._connection = self._take()
        began = _now()
        self._until = began + LIFE
        super().__enter__()
        while _now() < began + HANDOVER:
            time.sleep(BEAT)
            self.check()
        return self

    def __exit__(self, *exception: object) -> None:
        # First: from here on nothing may be written, whatever fails below.
        self._until = 0.0
        super().__exit__(*exception)
        self._connection.invalidate()  # this closes it even while the thread waits for an answer
        self._connection.close()
        self._engine.dispose()

    def check(self) -> None:
        """Raise LeaseLost unless the lease is held now. A lost lease is never regained."""
        with self._renewing:
            self._require()

    def _require(self) -> None:
        if _now() >= self._until:
            raise LeaseLost(
                f"publishing stopped: the connection to {self._place} was lost.",
                "It continues when the database answers and no other manager publishes.",
            )

    def _take(self) -> Connection:
        logged = ""
        while True:
            connection, why = self._try()
            if connection is not None:
                return connection
            if not self._wait:
                raise SkipjackError(f"cannot publish: {why}.", "Stop it, or let it publish.")
            # Once per reason: another publisher may hold the lease for a year.
            if why != logged:
                _log.info("standing by: %s", why)
                self._standing_by(why)
                logged = why
            time.sleep(BEAT)

    def _try(self) -> tuple[Connection | None, str]:
        """Return a connection that has the lock, or None and the reason."""
        try:
            # Without autocommit the first query would open a transaction that lasts as long as the lease.
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                connection.exec_driver_sql(_PROBES)
                if connection.exec_driver_sql(_TRY).scalar():
                    return connection, ""
            except BaseException:
                connection.close()
                raise
            connection.close()
        except exc.DBAPIError as error:
            return None, f"the database {self._place} does not answer: {' '.join(str(error.orig).split())}"
        return None, f"another publisher is running on {self._place}"

    def _work(self) -> None:
        watched = select.poll()
        driver: Any = self._connection.connection.driver_connection
        watched.register(driver.fileno(), select.POLLIN | select.POLLRDHUP)
        while not self._ended.is_set():
            try:
                self._beat()
            except Exception as error:  # whatever it is, the lease cannot be renewed
                if not self._ended.is_set():
                    _log.error("lost the connection to %s: %s", self._place, " ".join(str(error).split()))
                self._until = 0.0
                # The publisher sleeps until something changes, and has to find the lease lost before that.
                self._wake()
                return
            watched.poll(BEAT * 1000)  # returns early when the server closes the connection

    def _beat(self) -> None:
        self.check()
        # The life of the lease counts from the question: the answer may have been on its way for long.
        asked = _now()
        changes = self._connection.exec_driver_sql(_ASK).scalar()
        with self._renewing:  # a late answer must not renew a lease that `check` has found lost
            self._require()
            self._until = asked + LIFE
        if changes != self._changes:
            self._changes = changes
            self._wake()


def _now() -> float:
    """Return seconds of a clock that also counts while the machine is suspended: a lease expires meanwhile."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
