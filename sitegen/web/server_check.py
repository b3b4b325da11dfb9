"""Checks at each start that the installed uvicorn applies the limits of connections.

`sitegen.web.connection` relies on callbacks of uvicorn's protocol. A release that does not call them would serve as
usual, but without any limit. So at first a few requests go through connections in memory.
"""

import asyncio
from typing import Any

import uvicorn
from starlette.types import Receive, Scope, Send

from schemas.errors import SkipjackError
from schemas.records import ClientLimits
from sitegen.web.connection import CHUNKS, connection_class
from sitegen.web.gate import Gate
from sitegen.web.tested_releases import INSTALL

# The check keeps four connections open, so that a fifth one exceeds the limit.
_LIMITS = ClientLimits(connections=4, header_size=1024)
_TURNS = 20
"""Turns of the event loop to wait for an answer in memory, which takes fewer than five."""


def check_server() -> None:
    """Raise SkipjackError unless the limits work."""
    try:
        problem = asyncio.run(_problem())
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise SkipjackError(
            f"the limits of connections do not work with uvicorn {uvicorn.__version__}: {problem}.",
            f"Install a tested release: `{INSTALL}`.",
        )


async def _problem() -> str:
    server = _ServerInMemory()
    try:
        return await _problem_of(server)
    finally:
        server.may_answer.set()  # else uvicorn would log that the end cancels a request
        await _turns()


async def _problem_of(server: "_ServerInMemory") -> str:
    """Return which limit does not work, empty if all do."""
    pipelined, tiny = server.connect(), server.connect()
    paths = ["/1", "/2", "/3", "/4"]
    pipelined.send(b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths))
    await _turns()
    if server.begun != ["/1"] or pipelined.under_way() != 1:
        return f"{pipelined.under_way()} of four pipelined requests are processed at once, and not only the first"
    server.may_answer.set()
    await _turns()
    if server.begun != paths or pipelined.written.count(b"HTTP/1.1 204 ") != len(paths):
        return f"of four pipelined requests {len(server.begun)} began, and not all in their order"
    chunked = server.connect()
    chunked.send(b"POST /5 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    await _turns()
    chunked.send(b"0\r\n\r\nGET /6 HTTP/1.1\r\nHost: x\r\n\r\n")
    await _turns()
    if server.begun != [*paths, "/5"] or not chunked.written.startswith(b"HTTP/1.1 204 "):
        return "a chunked body is still parsed after its answer"
    large = server.connect()
    large.send(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + bytes(2048).replace(b"\0", b"x"))
    await _turns()
    if not large.written.startswith(b"HTTP/1.1 431 ") or not server.connect().has(b"HTTP/1.1 503 "):
        return "a large head or a connection over the limit was not rejected"
    server.may_answer.clear()
    tiny.send(
        b"POST /7 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (CHUNKS + CHUNKS // 8)
    )
    await _turns()
    if not tiny.has(b"HTTP/1.1 413 "):
        return "a body in too many small chunks was not rejected"
    pipelined.send(b"nonsense\r\n\r\n")
    await _turns()
    return "" if b'{"error": ' in pipelined.written else "input that is not HTTP was not rejected"


async def _turns() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


class _ServerInMemory:
    """Creates connections as uvicorn does, to an application that answers once `may_answer` is set."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_answer = asyncio.Event()
        gate = Gate(_LIMITS)
        self._config = uvicorn.Config(
            self._answer, http=connection_class(gate), ws="none", interface="asgi3", lifespan="off",
            proxy_headers=False, log_config=None,
        )  # fmt: skip
        self._config.load()
        self._state = uvicorn.Server(self._config).server_state

    def connect(self) -> "_ClientInMemory":
        """Return a new connection."""
        kind: Any = self._config.http_protocol_class
        return _ClientInMemory(kind(config=self._config, server_state=self._state, app_state={}))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        self.begun.append(scope["path"])
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


class _ClientInMemory(asyncio.Transport):
    """The client's side of a connection in memory."""

    def __init__(self, protocol: Any) -> None:
        super().__init__({"peername": ("192.0.2.1", 1), "sockname": ("192.0.2.2", 80)})
        self.written = b""
        self._protocol = protocol
        self._is_closing = False
        protocol.connection_made(self)

    def send(self, data: bytes) -> None:
        """Send data to the server. Its pauses are ignored, since all data arrives at once."""
        self._protocol.data_received(data)

    def under_way(self) -> int:
        """Return the number of requests that the server has read and not answered."""
        return int(self._protocol.under_way)

    def has(self, start: bytes) -> bool:
        """Return whether the server's output begins with this."""
        return self.written.startswith(start)

    def writelines(self, list_of_data: Any) -> None:
        self.written += b"".join(list_of_data)

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    abort = close

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading
