"""A transport that two sides can pause, and that sends the parts of a response in one system call."""

import asyncio
from collections.abc import Callable
from typing import Any


class PacedTransport(asyncio.Transport):
    """Stands between a connection and uvicorn's protocol, which would resume reading while the connection is held.

    Nothing is read while the protocol (`pause_reading`) or the connection (`hold`) pauses it. All writes of one turn of
    the event loop, as head and body of a response, are sent with one system call.
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
        """Return whether nothing more should be written."""
        return self.is_closed or self._transport.is_closing()

    def write(self, data: Any) -> None:
        """Send data together with the other writes of this turn; after the end it is dropped."""
        if self.is_closed:
            return
        if not self._written:
            self._soon(self.flush)
        self._written.append(data)

    def flush(self) -> None:
        """Send all data that was written."""
        if self._written:
            written, self._written = self._written, []
            if not self._transport.is_closing():
                self._transport.writelines(written)

    def pause_reading(self) -> None:
        """Pause for the protocol."""
        self._paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Resume for the protocol."""
        self._paused = False
        if not self._is_held:
            self._transport.resume_reading()

    def hold(self) -> None:
        """Pause for the connection."""
        if not self._is_held:
            self._is_held = True
            self._transport.pause_reading()

    def release(self) -> None:
        """Resume for the connection."""
        if self._is_held:
            self._is_held = False
            if not self._paused:
                self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def can_write_eof(self) -> bool:
        """Return whether output can be closed while input is still read; TLS cannot."""
        return self._transport.can_write_eof()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Not supported: another protocol would have no limits."""
        raise NotImplementedError(f"{protocol!r} cannot take over this connection")

    def get_protocol(self) -> Any:
        """Return the connection."""
        return self._transport.get_protocol()
