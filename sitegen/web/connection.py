"""A connection with limits for memory, time and turns of the event loop.

uvicorn's protocol has no limits for these. This subclass relies only on public parts: the callbacks of asyncio and of
httptools, and the responses that it sees. `sitegen.web.server_check` tests at each start that they are called.
The limits of bodies are in `sitegen.web.access`, where bodies are read.
"""

import asyncio
import json
import math
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sitegen.web import gate as reasons
from sitegen.web.gate import Gate
from sitegen.web.paced import PacedTransport

LINGER = 2.0
"""Seconds in which a rejected client may read the error, while its further input is discarded; and in which a client
may close its side when the server ends."""

REST = 0.02
"""Seconds between two reads of discarded input. Each read takes at least 64 KiB if that much is there."""

SHORTEST, LONGEST = 6, 16 * 1024
"""Bytes that the parser gets at once. No head is shorter, and parsing the longest piece takes a few milliseconds."""

TURN, TURN_IN_CHUNKS = 8, 1
"""Pieces after which other connections have their turn. A piece of a chunked body takes much longer than others."""

FIELDS = 100
"""Fields of a head or trailer. Each costs memory beside its bytes."""

CHUNKS, CHUNK = 1024, 512
"""Chunks that every body may have, and bytes of the body per further one. A chunk costs the time of some hundred bytes,
and a client needs no token to send them."""

_NEVER = math.inf


class _LimitedConnection(HttpToolsProtocol):
    """A client's connection. One request is processed, and one more may have begun; the rest is not read yet."""

    gate: Gate

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._here = asyncio.get_running_loop()
        self._paced: PacedTransport | None = None
        self._client: asyncio.Transport | None = None
        self._held, self._place = b"", 0  # input that is not parsed yet begins at the place
        self.under_way = 0  # requests that are read and not answered
        self._is_whole = True  # the last of them is read to its end
        self._in_head, self._head = True, 0  # bytes of an unfinished head
        self._size = self._fields = 0  # of the fields of a head or trailer
        self._is_chunked = False
        self._body = self._chunks = 0  # bytes and chunks of the body
        self._is_deaf = False  # further input is discarded
        self._refusal: tuple[int, str] | None = None
        self._read_by = self._write_by = _NEVER  # deadlines for the client to send and to read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in its base
        self._client = transport
        self._paced = PacedTransport(transport, self._close)
        super().connection_made(self._paced)
        peer = transport.get_extra_info("peername")
        self._read_by = self._now_and_patience()
        too_many = self.gate.enter(self, peer[0] if peer else "")
        if too_many:
            self._refuse(503, too_many[1])

    def connection_lost(self, exc: Exception | None) -> None:
        self.gate.leave(self)
        self._held, self._read_by, self._write_by = b"", _NEVER, _NEVER
        self._is_deaf = True
        if self._paced:  # else only a TLS handshake was made
            self._paced.is_closed = True
            super().connection_lost(exc)

    def eof_received(self) -> None:
        self._transport().flush()  # the base lets asyncio close the transport, which drops later writes
        super().eof_received()

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            self._rest()
            return
        rest = self._held[self._place :] if self._held else b""
        self._held, self._place = rest + data if rest else data, 0
        self._feed()

    def _rest(self) -> None:
        """Read nothing for a moment: else the event loop reads again and again while a client sends fast."""
        if self._client and not self._client.is_closing():
            self._client.pause_reading()
            self._here.call_later(REST, self._read_on)

    def _read_on(self) -> None:
        if self._client and not self._client.is_closing():
            self._client.resume_reading()

    def _feed(self) -> None:
        """Parse held input piece by piece, until a request is processed or other connections have their turn."""
        pieces = 0
        while self._place < len(self._held):
            is_busy = self.under_way and self._is_whole
            if self._is_deaf:
                break
            if is_busy or pieces >= (TURN_IN_CHUNKS if self._is_chunked and not self._in_head else TURN):
                self._transport().hold()
                if not is_busy:
                    self.gate.soon(self._feed)
                return
            start, self._place = self._place, _end_of_piece(self._held, self._place)
            self._take(self._held[start : self._place])
            pieces += 1
        self._held, self._place = b"", 0
        self._transport().release()

    def _take(self, piece: bytes) -> None:
        if self._in_head:
            self._head += len(piece)
        super().data_received(piece)
        if self._in_head and not self.under_way:
            if self._read_by == _NEVER:
                self._read_by = self._now_and_patience()
            if self._head > self.gate.limits.header_size:
                self._refuse_large()

    def on_message_begin(self) -> None:
        self._size = self._fields = 0
        self._is_chunked = False
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._size += len(url)
        if self._size > self.gate.limits.header_size:
            self._refuse_large()
        if not self._is_deaf:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        # 4 bytes for the colon, the space and the end of the line.
        self._size += len(name) + len(value) + 4
        if self._fields > FIELDS or self._size > self.gate.limits.header_size:
            self._refuse_large()
        if self._in_head and not self._is_deaf:  # fields of a trailer are ignored
            self._is_chunked |= name.lower() == b"transfer-encoding"
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._head, self._read_by = False, 0, _NEVER
        self._size = self._fields = self._body = self._chunks = 0
        if not self._is_deaf:
            super().on_headers_complete()
            self.under_way, self._is_whole = self.under_way + 1, False
            if self.gate.is_ending:
                self.shutdown()  # its response says `Connection: close`

    def on_chunk_header(self) -> None:
        """Count a chunk; the parser calls this when the chunk's size is read."""
        self._chunks += 1
        if self._chunks > CHUNKS + self._body // CHUNK:
            self._refuse(413, "the body has too many small chunks", reasons.TOO_LARGE)

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        if not self._is_deaf:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._is_deaf:
            super().on_message_complete()
        self._in_head, self._head, self._is_whole = True, 0, True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.under_way -= 1
        if self._transport().is_closing() or self.under_way:
            return
        if self._refusal:
            self._answer_refusal()
        elif not self._is_whole and self._is_chunked:
            self._close()  # the rest is not needed, and finding its end means parsing it
        elif not self._is_whole:
            self._read_by = self._now_and_patience()  # the rest is not needed, but skipping it costs little
        elif self._held:
            self.gate.soon(self._feed)

    def is_at_work(self) -> bool:
        """Return whether a request has no complete response yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def is_expecting(self) -> bool:
        """Return whether the first request has not arrived yet, or a head is incomplete."""
        return not self._is_deaf and not self.is_at_work() and (self.cycle is None or self._head > 0)

    def shutdown(self) -> None:
        """Close when no request is processed. TLS waits for the client's answer, so a timer ends that."""
        super().shutdown()
        if self._client and self._transport().is_closing():
            self._here.call_later(LINGER, self._client.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_by = self._now_and_patience()

    def resume_writing(self) -> None:
        if not self._transport().is_closed:
            self._write_by = _NEVER
        super().resume_writing()

    def check_deadlines(self, now: float) -> None:
        """Close this connection if a deadline has passed; `now` is of the event loop's clock."""
        if now >= self._write_by:
            self._write_by = _NEVER
            if not self._transport().is_closed:
                self.gate.ended[reasons.NOT_READ] += 1
            self._transport().abort()
        elif now >= self._read_by:
            if self._in_head:
                self._refuse(408, f"the head did not arrive within {self.gate.limits.read_timeout} s", reasons.TOO_SLOW)
            else:
                self.gate.ended[reasons.TOO_SLOW] += 1
                self._close()

    def send_400_response(self, msg: str) -> None:
        """Reject input that is not HTTP; uvicorn calls this with its own message."""
        self._refuse(400, msg.rstrip(".").lower(), reasons.MALFORMED)

    def _refuse_large(self) -> None:
        most = f"{FIELDS} fields" if self._fields > FIELDS else f"{self.gate.limits.header_size} bytes"
        self._refuse(431, f"the head is larger than {most}", reasons.TOO_LARGE)

    def _refuse(self, status: int, why: str, reason: str | None = None) -> None:
        """Discard further input, and send an error once all earlier requests are answered.

        For a request with an invalid body the error is its response, so it is sent only if that has not begun and no
        other response is due before it. Else the connection just closes.
        """
        if self._is_deaf:
            return
        self._is_deaf = True
        self._refusal = status, why
        self._read_by = _NEVER
        if reason:
            self.gate.ended[reason] += 1
        if self._is_whole:
            if not self.under_way:
                self._answer_refusal()
        elif self.under_way == 1 and self.is_at_work() and not self.cycle.response_started:
            self._answer_refusal()
        else:
            self._close()

    def _answer_refusal(self) -> None:
        if self._refusal is None:
            return
        status, why = self._refusal
        body = json.dumps({"error": why}).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self._transport().write(head.encode() + body)
        self._close()

    def _close(self) -> None:
        """Close once all output is sent.

        Closing while the client sends would reset the connection before it can read the error. So its input is
        discarded for a moment first.
        """
        paced, client = self._transport(), self._client
        if client is None or paced.is_closed:
            return
        paced.flush()
        paced.is_closed = self._is_deaf = True
        self._held, self._place, self._read_by = b"", 0, _NEVER
        # A client that does not read must not keep the closed connection open.
        self._write_by = self._now_and_patience()
        is_sending = self._refusal is not None or not self._is_whole
        if client.is_closing() or not is_sending or not self.gate.may_linger(self):
            client.close()
            return
        # The client sees the end of the answer while it may still be sending.
        if client.can_write_eof():
            client.write_eof()
        client.resume_reading()
        self._here.call_later(LINGER, client.close)

    def _transport(self) -> PacedTransport:
        if self._paced is None:
            raise RuntimeError("the connection is not made yet")
        return self._paced

    def _now_and_patience(self) -> float:
        return self._here.time() + self.gate.limits.read_timeout


def _end_of_piece(data: bytes, start: int) -> int:
    """Return the end of the next piece: after an empty line, so that a piece has the end of one head at most."""
    found = data.find(b"\n\r\n", start + SHORTEST, start + LONGEST)
    return found + 3 if found >= 0 else min(len(data), start + LONGEST)


Connection = _LimitedConnection


def connection_class(gate: Gate) -> type[Connection]:
    """Return the class of connections that this gate counts: uvicorn makes them, and passes no further arguments."""
    return type("GatedConnection", (Connection,), {"gate": gate})
