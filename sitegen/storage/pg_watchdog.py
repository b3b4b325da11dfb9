"""A connection to PostgreSQL whose waits are bounded.

If a server freezes with its sockets open, nothing times out: TCP sees no error, and the server's own limits are frozen
as well. So each wait has a limit, and other threads can abort it.
"""

import threading
import time
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen

LONGEST = 65.0
"""Seconds without an answer after which a connection counts as lost. Just longer than the server's `statement_timeout`,
so that a slow statement ends by the server's limit."""

_ENDING = "the manager is stopping"


class Watched(psycopg.Connection[Any]):
    """A connection that breaks if the server does not answer for LONGEST, or when `ending` is set."""

    ending: threading.Event

    @classmethod
    def opened(cls, ending: threading.Event, **named: Any) -> "Watched":
        """Connect like the driver."""
        if ending.is_set():
            raise psycopg.OperationalError(_ENDING)
        connection = cls.connect(**named)
        connection.ending = ending
        return connection

    def wait(self, gen: PQGen[RV], *arguments: Any, **named: Any) -> RV:
        """Wait like the driver, which wakes up ten times a second."""
        return super().wait(self._watched(gen), *arguments, **named)

    def _watched(self, gen: PQGen[RV]) -> PQGen[RV]:
        answered = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    answered = time.monotonic()
                elif self.ending.is_set():
                    self._break(_ENDING)
                elif time.monotonic() - answered > LONGEST:
                    self._break(f"the server has not answered for {LONGEST:g} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            result: RV = done.value
            return result

    def _break(self, why: str) -> None:
        """Close the connection, since its state is unknown. An open transaction is rolled back."""
        self.pgconn.finish()
        raise psycopg.OperationalError(why)
