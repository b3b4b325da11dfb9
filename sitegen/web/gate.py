"""How many connections are open, from where, and which of them have run out of time.

Knows nothing of HTTP: `sitegen.web.connection` enters here, and says until when it may wait.
"""

from collections.abc import Iterable
from typing import Protocol

from schemas.records import ClientLimits
from sitegen.web.addresses import Network, contains, unmapped
from sitegen.web.limits import subscriber

TOO_MANY, TOO_MANY_OF_ADDRESS, TOO_LARGE, TOO_SLOW, MALFORMED, NOT_READ = (
    "connections", "connections_per_address", "header_size", "too_slow", "malformed", "not_read",
)  # fmt: skip
"""Why a connection is ended by the manager."""

MOST_LINGERING = 50
"""Refused connections that may stay open until the client has read why. They are files beside those that the limit
allows, so in a flood the others are closed at once."""


class Deadlines(Protocol):
    """What enters: something that must end in time."""

    def check_deadlines(self, now: float) -> None:
        """End the connection if it may wait no longer; `now` is of the event loop's clock."""


class Gate:
    """Counts connections. Only for the event loop's thread, but for the figures."""

    def __init__(self, limits: ClientLimits, uncounted: Iterable[Network] = ()) -> None:
        self.limits = limits
        self.is_ending = False  # set when the server ends: each connection gets no more than one answer
        self.ended = dict.fromkeys((TOO_MANY, TOO_MANY_OF_ADDRESS, TOO_LARGE, TOO_SLOW, MALFORMED, NOT_READ), 0)
        self._uncounted = tuple(uncounted)
        self._open: dict[Deadlines, str | None] = {}
        self._of_address: dict[str, int] = {}
        self._lingering: set[Deadlines] = set()

    @property
    def count(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def enter(self, connection: Deadlines, host: str) -> tuple[str, str] | None:
        """Count a new connection; returns the reason and the words with which to refuse it, if it is one too many.

        A refused one counts until it leaves, but not for its address. Connections of trusted proxies, which bring
        requests of many, and of listed writers count for no address. One that is in already stays.
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
            return TOO_MANY, f"there are {most} connections already"
        host = unmapped(host)
        if any(contains(network, host) for network in self._uncounted):
            return None
        address = subscriber(host)
        already = self._of_address.get(address, 0)
        if already >= most_of_address:
            return TOO_MANY_OF_ADDRESS, f"there are {most_of_address} connections from {address} already"
        self._of_address[address] = already + 1
        self._open[connection] = address
        return None

    def leave(self, connection: Deadlines) -> None:
        """Forget a connection that is closed."""
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
        """Whether a connection that is to be closed may wait until its client has read the answer."""
        if len(self._lingering) >= MOST_LINGERING:
            return False
        self._lingering.add(connection)
        return True

    def check_deadlines(self, now: float) -> None:
        """End every connection that has run out of time."""
        for connection in list(self._open):
            connection.check_deadlines(now)
