"""The publisher's turn where the database is PostgreSQL: one at a time, whichever machine it is on.

The turn is an advisory lock of one connection, so the server gives it to the next one when that connection ends. Here
it has to end before: the connection is used every BEAT, a broken one is noticed at once, and without an answer for
LIFE the turn is over. The server takes 11 seconds to think us gone, and whoever gets the lock waits for HANDOVER
before it writes, in case a server that was restarted forgot about somebody whom it could not tell.
"""

import logging
import select
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, exc

from schemas.errors import SkipjackError
from sitegen.locks import Lost
from sitegen.storage.dialects import PUBLISHERS_LOCK, Postgresql

BEAT = 0.5
LIFE = 3.0
HANDOVER = LIFE + 2 * BEAT
"""Seconds."""

_PROBES = "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3"
"""What the server does to find out whether we are still there: three probes after 5 seconds of silence."""

_TRY = f"SELECT pg_try_advisory_lock({PUBLISHERS_LOCK})"
_ASK = "SELECT value FROM meta WHERE name = 'changes'"

_log = logging.getLogger(__name__)


class Lease:
    """A turn, from entering it. `wake` is called in a thread when pages have to change, and when the turn is over;
    `standing_by` with the reason while it is waited for."""

    def __init__(
        self,
        dialect: Postgresql,
        wake: Callable[[], None],
        *,
        wait: bool,
        standing_by: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self._place = dialect.place
        self._engine = dialect.engine()
        self._wake = wake
        self._wait = wait
        self._standing_by = standing_by
        self._until = 0.0
        self._renewing = threading.Lock()
        self._changes: object = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        """Wait for the turn; SkipjackError at once where waiting was not wanted."""
        self._connection = self._take()
        began = _now()
        self._until = began + LIFE
        self._thread.start()
        while _now() < began + HANDOVER:
            time.sleep(BEAT)
            self.check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._until = 0.0
        self._ended.set()
        self._thread.join(2 * BEAT)
        self._connection.invalidate()  # closes it, also while the thread waits for an answer
        self._connection.close()
        self._engine.dispose()

    def check(self) -> None:
        """Lost unless the turn is ours now; once it is over it stays over."""
        with self._renewing:
            self._require()

    def _require(self) -> None:
        if _now() >= self._until:
            raise Lost(
                f"The turn to publish is over: the connection to {self._place} was lost.",
                "It is taken up again as soon as the database answers and no other manager has it.",
            )

    def _take(self) -> Connection:
        said = ""
        while True:
            connection, why = self._try()
            if connection is not None:
                return connection
            if not self._wait:
                raise SkipjackError(f"This cannot be published: {why}.", "End it, or leave the publishing to it.")
            if why != said:
                _log.info("standing by: %s", why)
                self._standing_by(why)
                said = why
            time.sleep(BEAT)

    def _try(self) -> tuple[Connection | None, str]:
        """A connection that has the lock, or why there is none."""
        try:
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
        return None, f"another publisher is at work on {self._place}"

    def _keep(self) -> None:
        watched = select.poll()
        driver: Any = self._connection.connection.driver_connection
        watched.register(driver.fileno(), select.POLLIN | select.POLLRDHUP)
        while not self._ended.is_set():
            try:
                self._beat()
            except Exception as error:  # whatever it is, the turn is over
                if not self._ended.is_set():
                    _log.error("the connection to %s is lost: %s", self._place, " ".join(str(error).split()))
                self._until = 0.0
                self._wake()
                return
            watched.poll(BEAT * 1000)  # ends early when the server says something unasked: that it goes

    def _beat(self) -> None:
        self.check()
        asked = _now()
        changes = self._connection.exec_driver_sql(_ASK).scalar()
        with self._renewing:  # an answer that came too late must not bring back a turn that somebody found over
            self._require()
            self._until = asked + LIFE
        if changes != self._changes:
            self._changes = changes
            self._wake()


def _now() -> float:
    """Seconds, which go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
