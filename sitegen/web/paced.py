"""A transport that two sides may pause, that sends what belongs together, and whose owner closes it."""

import asyncio
from collections.abc import Callable
from typing import Any


class Paced(asyncio.Transport):
    """Stands between a connection and the server's protocol, which knows only its own reasons to stop reading.

    Nothing is read while the protocol (`pause_reading`) or the connection (`hold`) does not want to. What is written in
    one turn of the event loop, as head and body of an answer, is sent with one system call.
    """

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None]) -> None:
        super().__init__()
        self._transport = transport
        self._soon = asyncio.get_running_loop().call_soon
        self._paused = self._is_held = False
        self._written: list[Any] = []
        self.close = close  # type: ignore[method-assign]
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign]
        self.is_closed = False

    def is_closing(self) -> bool:
        """Whether nothing more should be written."""
        return self.is_closed or self._transport.is_closing()

    def write(self, data: Any) -> None:
        """Send this with whatever else is written in this turn; drop what comes after the end."""
        if self.is_closed:
            return
        if not self._written:
            self._soon(self.flush)
        self._written.append(data)

    def flush(self) -> None:
        """Send what was written."""
        if self._written:
            written, self._written = self._written, []
            if not self._transport.is_closing():
                self._transport.writelines(written)

    def pause_reading(self) -> None:
        """Stop for the protocol."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on for the protocol."""
        self._paused = False
        if not self._is_held:
            self._transport.resume_reading()

    def hold(self) -> None:
        """Stop for the connection."""
        if not self._is_held:
            self._is_held = True
            self._transport.pause_reading()

    def release(self) -> None:
        """Go on for the connection."""
        if self._is_held:
            self._is_held = False
            if not self._paused:
                self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def can_write_eof(self) -> bool:
        """Whether the peer can be told that nothing more comes while we go on reading."""
        return self._transport.can_write_eof()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Not supported: no other protocol takes over, so no limit ends."""
        raise NotImplementedError(f"{protocol!r} cannot take over this connection")

    def get_protocol(self) -> Any:
        """The connection."""
        return self._transport.get_protocol()
