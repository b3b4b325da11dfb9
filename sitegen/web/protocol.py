"""A connection that takes no more than it may: heads that are too large or too slow, and readers that do not read.

The server's own protocol has limits for none of these; bodies are watched where they are read, in `access`.
"""

import asyncio
import json
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from schemas.records import Limits
from sitegen.web.addresses import unmapped
from sitegen.web.answers import Json
from sitegen.web.fast_lane import FastLane

LINGER = 2.0
"""Seconds in which a refused client may read why, while what it still sends is thrown away; and in which one that is
hung up on may take leave."""


JSON = Json.media_type.encode()


class _Report(NamedTuple):
    """A report on the short way until its body is read: what would be started on the long one, and whose it is."""

    cycle: RequestResponseCycle
    app: Any
    worker: str


def guarded(limits: Limits, lane: FastLane) -> type[asyncio.Protocol]:
    """The class of connections with these limits, of which reports take the short way."""
    return type("Guarded", (_Guarded,), {"limits": limits, "lane": lane})


class _Guarded(HttpToolsProtocol):
    limits: Limits
    lane: FastLane

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._refused = False
        self._head = 0
        self._in_head = True
        self._at_work: RequestResponseCycle | None = None
        self._report: _Report | None = None
        self._slow_head: asyncio.TimerHandle | None = None
        self._slow_reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in its base
        super().connection_made(transport)
        if self.client is not None:
            self.client = unmapped(self.client[0]), self.client[1]
        if len(self.connections) > self.limits.connections:
            self._refuse(503, f"there are {self.limits.connections} connections already")
        else:
            self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._slow_head = _cancelled(self._slow_head)
        self._slow_reader = _cancelled(self._slow_reader)
        self._give_up_answer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            self._watch_head()
            self._head += len(data)
        super().data_received(data)
        if self._report is not None:
            self._take(self._report)
        if self._in_head and self._head > self.limits.header_size:
            self._refuse(431, f"the head is larger than {self.limits.header_size} bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._slow_head = _cancelled(self._slow_head)
        self._in_head, self._head = False, 0
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.limits.header_size:
            self._refuse(431, f"the head is larger than {self.limits.header_size} bytes")
        if not self._refused:
            super().on_headers_complete()
            if not self.pipeline:
                self._at_work = self.cycle

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """A report may need no task; whether it comes whole is seen when this piece of data has been read."""
        is_new = cycle.more_body and not cycle.body
        scope: Any = cycle.scope
        worker = self.lane.worker(scope) if is_new else None
        if worker is None:
            super()._start_asgi_task(cycle, app)
        else:
            self._report = _Report(cycle, app, worker)

    def _take(self, report: _Report) -> None:
        self._report = None
        cycle, app, worker = report
        if cycle.disconnected:
            return
        usual = not cycle.more_body and not self.flow.write_paused
        if not (usual and self.lane.take(worker, bytes(cycle.body), partial(self._answer, cycle))):
            super()._start_asgi_task(cycle, app)

    def _answer(self, cycle: RequestResponseCycle, answer: Any) -> None:
        """Send the JSON of an answer as a task would, or have a task send another one."""
        if cycle.disconnected:
            return
        if not isinstance(answer, bytes):
            super()._start_asgi_task(cycle, answer)
            return
        head = [b"HTTP/1.1 200 OK\r\n", *(b"%s: %s\r\n" % header for header in cycle.default_headers)]
        if not cycle.keep_alive:
            head.append(b"connection: close\r\n")
        head.append(b"content-length: %d\r\ncontent-type: %s\r\n\r\n" % (len(answer), JSON))
        self.transport.write(b"".join([*head, answer]))
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        self._at_work = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()
        if self._report is not None:  # its head came with the last request, and nobody can say when its body will
            self._take(self._report)

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            super().on_message_complete()
        self._in_head = True

    def shutdown(self) -> None:
        """End when nothing is under way. With TLS that waits for the other side, which need not be listening."""
        super().shutdown()
        if self.transport.is_closing():
            self.loop.call_later(LINGER, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._slow_reader = self.loop.call_later(self.limits.read_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        self._slow_reader = _cancelled(self._slow_reader)
        super().resume_writing()

    def _watch_head(self) -> None:
        if self._slow_head is None:
            words = f"the head did not come within {self.limits.read_timeout} s"
            self._slow_head = self.loop.call_later(self.limits.read_timeout, self._refuse, 408, words)

    def send_400_response(self, msg: str) -> None:
        """What the server says of what is no HTTP."""
        self._refuse(400, msg.rstrip(".").lower())

    def _refuse(self, status: int, why: str) -> None:
        """Answer, and listen to no more. While another answer is due nobody would know which one this is."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._slow_head = _cancelled(self._slow_head)
        if self._at_work is not None:
            self._give_up_answer()
            self.transport.close()
            return
        body = json.dumps({"error": why}).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.loop.call_later(LINGER, self.transport.close)
        else:
            self.transport.close()

    def _give_up_answer(self) -> None:
        """Tell who is at work on an answer that it cannot be sent; our base tells only the last of those that wait."""
        if self._at_work is not None:
            self._at_work.disconnected = True
            self._at_work.message_event.set()


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """Take back a timer; gives what stands in its place."""
    if timer is not None:
        timer.cancel()
    return None
