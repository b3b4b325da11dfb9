"""Counts open connections, in total and per address, and closes those whose deadline has passed.

It knows nothing of HTTP: each connection of `sitegen.web.connection` enters, leaves and has its own deadlines.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from schemas.records import ClientLimits
from sitegen.web.addresses import Network, contains, unmapped
from sitegen.web.limits import subscriber

TOO_MANY, TOO_MANY_OF_ADDRESS, TOO_LARGE, TOO_SLOW, MALFORMED, NOT_READ = (
    "connections", "connections_per_address", "header_size", "too_slow", "malformed", "not_read",
)  # fmt: skip
"""Reasons for which the manager closes a connection."""

MOST_LINGERING = 50
"""Rejected connections that may stay open until the client has read the error. They are open files beyond the limit of
connections, so in a flood the others are closed at once."""


AT_ONCE = 16
"""Connections with further input that get a turn in one turn of the event loop. The others wait, since thousands of
them would make it so long that a new client, which needs several, waits for minutes."""


class Deadlines(Protocol):
    """A connection as the gate sees it."""

    def check_deadlines(self, now: float) -> None:
        """Close the connection if a deadline has passed; `now` is of the event loop's clock."""


class Gate:
    """Counts connections. Only for the event loop's thread, except `count` and `ended`."""

    def __init__(self, limits: ClientLimits, uncounted: Iterable[Network] = ()) -> None:
        self.limits = limits
        self.is_ending = False  # set when the server ends: each connection gets one more answer at most
        self.ended = dict.fromkeys((TOO_MANY, TOO_MANY_OF_ADDRESS, TOO_LARGE, TOO_SLOW, MALFORMED, NOT_READ), 0)
        self._uncounted = tuple(uncounted)
        self._open: dict[Deadlines, str | None] = {}
        self._of_address: dict[str, int] = {}
        self._lingering: set[Deadlines] = set()
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_due = False

    @property
    def count(self) -> int:
        """Return the number of open connections."""
        return len(self._open)

    def enter(self, connection: Deadlines, host: str) -> tuple[str, str] | None:
        """Count a new connection; returns the reason and the message with which to reject it if a limit is reached.

        A rejected one counts until it leaves, but not for its address. Connections of trusted proxies, which carry
        requests of many clients, and of listed writers count for no address. A second call changes nothing.
        """
        if connection in self._open:
            return None
        refusal = self._enter(connection, host)
        if refusal:
            self.ended[refusal[0]] += 1
        return refusal

    def _enter(self, connection: Deadlines, host: str) -> tuple[str, str] | None:
        most, most_of_address = self.limits.connections, self.limits.connections_per_address
        is_full = len(self._open) >= most
        self._open[connection] = None
        if is_full:
            return TOO_MANY, f"too many connections: {most} are open"
        host = unmapped(host)
        if any(contains(network, host) for network in self._uncounted):
            return None
        address = subscriber(host)
        already = self._of_address.get(address, 0)
        if already >= most_of_address:
            return TOO_MANY_OF_ADDRESS, f"too many connections: {most_of_address} are open from {address}"
        self._of_address[address] = already + 1
        self._open[connection] = address
        return None

    def leave(self, connection: Deadlines) -> None:
        """Stop counting a closed connection."""
        self._lingering.discard(connection)
        address = self._open.pop(connection, None)
        if address is None:
            return
        left = self._of_address[address] - 1
        if left:
            self._of_address[address] = left
        else:
            del self._of_address[address]

    def may_linger(self, connection: Deadlines) -> bool:
        """Return whether a connection may stay open until its client has read the answer."""
        if len(self._lingering) >= MOST_LINGERING:
            return False
        self._lingering.add(connection)
        return True

    def soon(self, turn: Callable[[], None]) -> None:
        """Call a function of a connection in one of the next turns of the event loop, in the order of these calls."""
        self._waiting.append(turn)
        self._call_waiting_soon()

    def _call_waiting_soon(self) -> None:
        if self._waiting and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._call_waiting)

    def _call_waiting(self) -> None:
        self._is_due = False
        try:
            for _ in range(min(AT_ONCE, len(self._waiting))):
                self._waiting.popleft()()
        finally:
            self._call_waiting_soon()

    def check_deadlines(self, now: float) -> None:
        """Close every connection whose deadline has passed; `now` is of the event loop's clock."""
        for connection in list(self._open):  # a copy, since a closed connection leaves
            connection.check_deadlines(now)
