"""Accepts connections: many in one turn of the event loop, and with TLS counted before their handshake.

uvicorn's own server accepts one in a turn. When thousands of connections are busy, a turn takes long, and a new client
would wait for minutes. With TLS, uvicorn sees a connection only after its handshake, for which it allows a minute, and
until then the connection would count for no limit.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial

from sitegen.web.connection import Connection
from sitegen.web.gate import Gate

_AT_ONCE = 100
"""Connections that are accepted in one turn of the event loop at most, so that others have their turn."""

_PAUSE = 1.0
"""Seconds until the next try at the limit of open files."""

_log = logging.getLogger(__name__)


class Acceptor:
    """Accepts connections from a listening socket. Only for the event loop's thread."""

    def __init__(
        self, listener: socket.socket, gate: Gate, context: ssl.SSLContext | None, connect: Callable[[], Connection]
    ) -> None:
        self._listener = listener
        self._gate = gate
        self._context = context
        self._connect = connect
        self._here = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to accept."""
        self._here.add_reader(self._listener, self._accept)

    @property
    def is_shaking_hands(self) -> bool:
        """Return whether a handshake is unfinished."""
        return bool(self._handshakes)

    def stop(self) -> None:
        """Accept no more connections. Handshakes continue."""
        if self._pause:
            self._pause.cancel()
        self._here.remove_reader(self._listener)

    def end(self) -> None:
        """Cancel unfinished handshakes."""
        for handshake in self._handshakes:
            handshake.cancel()

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                accepted, peer = self._listener.accept()
            # No connection is left to accept, or its client has given up.
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                _log.error("cannot accept connections, retrying in %g s: %s", _PAUSE, error)
                # Otherwise the event loop would call this without a pause for as long as no file can be opened.
                self._here.remove_reader(self._listener)
                self._pause = self._here.call_later(_PAUSE, self.start)
                return
            self._begin(accepted, peer[0] if peer else "")  # a Unix socket has no address

    def _begin(self, accepted: socket.socket, host: str) -> None:
        accepted.setblocking(False)
        connection = self._connect()
        # Without TLS the connection enters the gate by itself, and tells the client why it is rejected.
        if self._context and self._gate.enter(connection, host) is not None:
            self._gate.leave(connection)
            accepted.close()  # without a handshake the client could not read an error
            return
        handshake = self._here.create_task(self._shake_hands(accepted, connection))
        self._handshakes.add(handshake)
        handshake.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket, connection: Connection) -> None:
        try:
            await self._here.connect_accepted_socket(
                partial(_same, connection),
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._gate.limits.read_timeout if self._context else None,
            )
        # Only then: after the handshake the connection leaves the gate itself.
        except (OSError, asyncio.CancelledError):
            self._gate.leave(connection)
            accepted.close()


def _same(connection: Connection) -> Connection:
    return connection
