"""A connection to PostgreSQL that is never waited for without end.

A server that stands still with its sockets open lets nothing time out: TCP has no quarrel with it, and its own limits
stand still with it. So the waiting itself has a limit, and an end that others can bring about.
"""

import threading
import time
from typing import Any

import psycopg
from psycopg.abc import RV, PQGen

LONGEST = 65.0
"""Seconds without a word after which a connection counts as lost: just longer than the server lets a statement take,
so that it is never slowness that ends one."""

_ENDING = "the manager is ending"


class Watched(psycopg.Connection[Any]):
    """A connection that breaks when the server is silent for LONGEST, or when `ending` is set."""

    ending: threading.Event

    @classmethod
    def opened(cls, ending: threading.Event, **named: Any) -> "Watched":
        """Connect, as the driver does."""
        if ending.is_set():
            raise psycopg.OperationalError(_ENDING)
        connection = cls.connect(**named)
        connection.ending = ending
        return connection

    def wait(self, gen: PQGen[RV], *arguments: Any, **named: Any) -> RV:
        """As the driver waits, which looks up ten times a second."""
        return super().wait(self._watched(gen), *arguments, **named)

    def _watched(self, gen: PQGen[RV]) -> PQGen[RV]:
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard = time.monotonic()
                elif self.ending.is_set():
                    self._break(_ENDING)
                elif time.monotonic() - heard > LONGEST:
                    self._break(f"the server has not answered for {LONGEST:g} s")
                wanted = gen.send(ready)
        except StopIteration as done:
            result: RV = done.value
            return result

    def _break(self, why: str) -> None:
        """End the connection, as its state is unknown; a transaction that was not committed ends with it."""
        self.pgconn.finish()
        raise psycopg.OperationalError(why)
