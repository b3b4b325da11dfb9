"""The limits of a client without a token: memory, connections, and turns of the event loop."""

import asyncio
import gzip
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from schemas.errors import SkipjackError
from schemas.records import ClientLimits
from sitegen.web import connection as connection_module
from sitegen.web import server_check
from sitegen.web.addresses import networks
from sitegen.web.connection import CHUNKS, Connection, connection_class
from sitegen.web.gate import AT_ONCE, MOST_LINGERING, Gate
from sitegen.web.limits import RateLimit
from sitegen.web.server_check import check_server
from sitegen.web.tested_releases import TESTED, require_tested
from tests.sitegen.kit import PATIENCE, Manager, wait_for

PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
UNLIMITED: dict[str, Any] = {"rate": 1_000_000, "burst": 1_000_000}
MB = 1_000_000


@contextmanager
def answering(folder: Path, **limits: Any) -> Iterator[tuple[Manager, Any]]:
    """Yield a manager and the gate that counts its connections."""
    manager = Manager(folder, limits=UNLIMITED | limits, tunasync={"writes_from": ["127.0.0.1"]})
    with manager.answering() as server:
        yield manager, server._gate  # type: ignore[attr-defined]
    manager.session.close()


@contextmanager
def connected(manager: Manager, host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Return a connection from an address of this machine."""
    place, port = manager.address.split(":")
    with socket.create_connection((place, int(port)), timeout=PATIENCE, source_address=(host, 0)) as connection:
        yield connection


def everything(connection: socket.socket) -> bytes:
    """Return all output until the manager closes the connection."""
    received = bytearray()
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionError:
        pass  # it need not read all of what it refuses
    return bytes(received)


def push(connection: socket.socket, data: bytes) -> int:
    """Send as much as the other side accepts now, without reading; returns the number of bytes."""
    connection.settimeout(0.2)
    sent = 0
    try:
        while sent < len(data):
            sent += connection.send(data[sent : sent + 262_144])
    except TimeoutError:
        pass
    return sent


def memory(pid: int) -> int:
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


@pytest.mark.parametrize(
    ("clients", "growth"), [(1, 20 * MB), (15, 75 * MB), pytest.param(60, 150 * MB, marks=pytest.mark.release)]
)
def test_pipelined_requests_take_little_memory_and_block_no_other_client(
    tmp_path: Path, clients: int, growth: int
) -> None:
    manager = Manager(tmp_path, limits=UNLIMITED)
    flood = PING * (17 * MB // len(PING))
    with manager.serving() as process, ExitStack() as stack:
        before = memory(process.pid)
        for _ in range(clients):
            connection = stack.enter_context(connected(manager))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # few answers fill what the kernel holds
            assert push(connection, flood) < len(flood), "what is not answered is not read"
        with connected(manager) as other:
            other.sendall(LAST)
            assert b"pong" in everything(other)
        assert memory(process.pid) - before < growth
    manager.session.close()


def test_one_pipelined_request_is_processed_and_one_may_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = 0

    async def counted(self: RateLimit, scope: Any, receive: Any, send: Any) -> None:
        nonlocal begun
        begun += 1
        await through(self, scope, receive, send)

    through = RateLimit.__call__
    monkeypatch.setattr(RateLimit, "__call__", counted)
    held = b"GET /api/v1/events?after=0&wait=60 HTTP/1.1\r\nHost: x\r\n\r\n"
    with answering(tmp_path) as (manager, gate), connected(manager) as connection:
        sent = push(connection, held * 200_000)
        assert sent < 200_000 * len(held)
        wait_for(lambda: begun, "the first is at work")
        with connected(manager) as other:
            other.sendall(LAST)
            assert b"pong" in everything(other)
        assert begun == 2, "the first of many, and the other client's"
        [there] = gate._open
        assert there.under_way <= 2 and len(there._held) < 2 * 262_144


def test_many_requests_in_one_packet_are_answered_in_order(tmp_path: Path) -> None:
    paths = [f"/api/v1/mirrors/m{number}" for number in range(300)]
    data = b"".join(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for path in paths)
    with answering(tmp_path) as (manager, _), connected(manager) as connection:
        connection.sendall(data + LAST)
        found = re.findall(rb"unknown mirror (m\d+)", everything(connection))
    assert [f"/api/v1/mirrors/{name.decode()}" for name in found] == paths


def test_further_pipelined_requests_wait_until_the_gate_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: list[Any] = []
    with answering(tmp_path) as (manager, gate), connected(manager) as connection:
        monkeypatch.setattr(gate, "soon", waiting.append)
        connection.sendall(PING + LAST)
        wait_for(lambda: waiting, "the first is answered")
        [turn] = waiting
        assert connection.recv(65536).count(b"HTTP/1.1 200 ") == 1
        turn.__self__._here.call_soon_threadsafe(turn)
        assert everything(connection).count(b"HTTP/1.1 200 ") == 1


def test_few_connections_get_a_turn_in_one_turn_of_the_loop() -> None:
    """Else thousands of connections with pipelined requests would keep new clients waiting for a minute."""
    called: list[int] = []

    def turn(number: int) -> None:
        called.append(number)
        if number == 1:
            raise ValueError("the others get their turn")
        if number == 2:
            gate.soon(partial(turn, 99))

    async def calls() -> list[int]:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        for number in range(2 * AT_ONCE):
            gate.soon(partial(turn, number))
        counts = []
        while len(called) < 2 * AT_ONCE + 1:
            await asyncio.sleep(0)
            counts.append(len(called))
        return counts

    gate = Gate(ClientLimits())
    counts = asyncio.run(calls())
    assert called == [*range(2 * AT_ONCE), 99]
    assert max(after - before for before, after in pairwise([0, *counts])) <= AT_ONCE


def test_many_connections_are_accepted_in_one_turn_of_the_loop(tmp_path: Path) -> None:
    """uvicorn's own server accepts one, which is too few when the other connections make each turn long."""
    with answering(tmp_path) as (manager, gate), ExitStack() as stack:
        manager.session.close()
        wait_for(lambda: gate.count == 0, "the session is gone")
        counts: list[int] = []
        held, free = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            free.wait(PATIENCE)
            count()

        def count() -> None:
            counts.append(gate.count)
            if counts[-1] < 51:
                here.call_soon(count)

        stack.enter_context(connected(manager))
        wait_for(lambda: gate.count == 1, "it is accepted")
        here = next(iter(gate._open))._here
        here.call_soon_threadsafe(hold)
        assert held.wait(PATIENCE)
        for _ in range(50):
            stack.enter_context(connected(manager))  # the kernel accepts them
        free.set()
        wait_for(lambda: counts and counts[-1] == 51, "all are accepted")
    assert max(after - before for before, after in pairwise(counts)) > 25


def test_one_address_cannot_take_all_connections(tmp_path: Path) -> None:
    manager = Manager(tmp_path, limits={"connections_per_address": 3}, trusted_proxies=["127.0.0.3"])
    with manager.answering() as server, ExitStack() as stack:
        gate: Any = server._gate  # type: ignore[attr-defined]
        manager.session.close()
        wait_for(lambda: gate.count == 0, "the session is gone")
        held = [stack.enter_context(connected(manager)) for _ in range(3)]
        with connected(manager) as one_more:
            answer = everything(one_more)
            assert answer.startswith(b"HTTP/1.1 503 ") and b"3 are open from 127.0.0.1" in answer
        for host in ("127.0.0.2", *["127.0.0.3"] * 5):
            other = stack.enter_context(connected(manager, host))
            other.sendall(PING)
            assert other.recv(12) == b"HTTP/1.1 200", "another address, and a trusted proxy"
        assert manager.session.get(f"{manager.url}/ping").status_code == 503
        held[0].close()
        wait_for(lambda: pinged(manager), "there is room again")
        with connected(manager, "127.0.0.2") as reader:
            reader.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            told = everything(reader).decode()
        assert 'skipjack_connections_ended_total{reason="connections_per_address"}' in told
        assert "\nskipjack_connections " in told
    manager.session.close()


def pinged(manager: Manager) -> bool:
    with connected(manager) as connection:
        connection.sendall(LAST)
        return everything(connection).startswith(b"HTTP/1.1 200 ")


def test_an_ipv6_64_is_one_address() -> None:
    class HeldConnection:
        def check_deadlines(self, now: float) -> None:
            raise AssertionError(now)

    gate = Gate(ClientLimits(connections=9, connections_per_address=1), networks(["2001:db8:9::/48"]))
    hosts = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "::ffff:192.0.2.1", "192.0.2.1", "2001:db8:9::1"]
    held = [(HeldConnection(), host) for host in [*hosts, hosts[-1]]]
    refused = [gate.enter(*each) is not None for each in held]
    assert refused == [False, True, False, False, True, False, False]
    for connection, _ in held:
        gate.leave(connection)
        gate.leave(connection)
    assert (gate.count, gate._of_address) == (0, {})


def test_rejected_connections_cannot_hold_more_files_open(tmp_path: Path) -> None:
    with answering(tmp_path, connections=2) as (manager, gate), ExitStack() as stack:
        manager.session.close()
        held = [stack.enter_context(connected(manager)) for _ in range(2)]
        for _ in range(3 * MOST_LINGERING):
            stack.enter_context(connected(manager))
        wait_for(lambda: gate.ended["connections"] == 3 * MOST_LINGERING, "all others are rejected")
        wait_for(lambda: gate.count <= 2 + MOST_LINGERING, "most of them are closed at once")
        held[0].sendall(PING)
        assert held[0].recv(12) == b"HTTP/1.1 200"
        wait_for(lambda: gate.count == 2, "and the rest a little later")


UNKNOWN = b"POST /api/v1/reports HTTP/1.1\r\nHost: x\r\n"
CHUNKED = UNKNOWN + b"Transfer-Encoding: chunked\r\n\r\n"


def cut_off(connection: socket.socket, send: Callable[[int], bytes]) -> bool:
    """Send until the manager closes the connection."""
    try:
        for turn in range(100_000):
            connection.sendall(send(turn))
            time.sleep(0.001)
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize(
    "part", [b"5\r\nhello\r\n", b"1;x=y\r\nz\r\n", b"2\r\n\r\n\r\n"], ids=["chunks", "extensions", "empty lines"]
)
def test_an_unread_body_times_out(tmp_path: Path, part: bytes) -> None:
    with answering(tmp_path, read_timeout="1s") as (manager, _), connected(manager) as connection:
        connection.sendall(CHUNKED)
        assert connection.recv(12) == b"HTTP/1.1 401"
        assert cut_off(connection, lambda _: part * 100)


def test_a_chunked_body_after_its_answer_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    parse = HttpToolsProtocol.data_received

    def counted(self: HttpToolsProtocol, data: bytes) -> None:
        parsed.append(data)
        parse(self, data)

    monkeypatch.setattr(HttpToolsProtocol, "data_received", counted)
    with answering(tmp_path) as (manager, _), connected(manager) as connection:
        connection.sendall(CHUNKED)
        answer = connection.recv(12)
        parsed.clear()
        connection.sendall(b"200\r\n%b\r\n" % bytes(512) * 100 + b"0\r\n\r\n" + PING)
        answer += everything(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"401"], "the client can read its answer, and gets no other"
    assert answer.endswith(b"}") and parsed == []


def test_input_after_the_answer_is_read_slowly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    thrown_away: list[int] = []
    take = Connection.data_received

    def counted(self: Connection, data: bytes) -> None:
        if self._is_deaf:
            thrown_away.append(len(data))
        take(self, data)

    monkeypatch.setattr(Connection, "data_received", counted)
    monkeypatch.setattr(connection_module, "REST", PATIENCE)
    with answering(tmp_path) as (manager, _), connected(manager) as connection:
        connection.sendall(CHUNKED)
        assert connection.recv(12) == b"HTTP/1.1 401"
        thrown_away.clear()
        with pytest.raises(ConnectionError):
            connection.sendall(bytes(64 * MB))
    assert len(thrown_away) == 1, "and not again before the moment is over"


def test_a_connection_stays_open_after_an_unread_body_of_known_length(tmp_path: Path) -> None:
    with answering(tmp_path) as (manager, _), connected(manager) as connection:
        connection.sendall(UNKNOWN + b"Content-Length: 300000\r\n\r\n")
        answer = connection.recv(12)
        connection.sendall(bytes(300_000) + LAST)
        answer += everything(connection)
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"401", b"200"]


def test_a_chunk_extension_times_out(tmp_path: Path) -> None:
    with answering(tmp_path, read_timeout="1s") as (manager, _), connected(manager) as connection:
        connection.sendall(CHUNKED)
        assert cut_off(connection, lambda turn: b"y" * 1000 if turn else b"5;x=")


def test_trailers_are_limited_and_ignored(tmp_path: Path) -> None:
    with answering(tmp_path, header_size="16KiB") as (manager, gate):
        head = CHUNKED + b"2\r\n{}\r\n0\r\n"
        with connected(manager) as connection:
            connection.sendall(head + b"Authorization: Bearer %b\r\n\r\n" % manager.token().encode() + LAST)
            first, *others = re.findall(rb"HTTP/1.1 (\d+)", everything(connection))
        assert first == b"401"
        assert others in ([b"200"], []), "none if the first response was complete before the body: then it is not read"
        head = b"POST /workers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
        with connected(manager) as connection:
            assert cut_off(connection, lambda turn: b"X: " + b"y" * 1000 + b"\r\n" if turn else head)
        assert gate.ended["header_size"] == 1


def test_a_head_with_too_many_fields_is_rejected(tmp_path: Path) -> None:
    with answering(tmp_path) as (manager, _), connected(manager) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n" + b"a:\r\n" * 101 + b"\r\n")
        answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 431 ") and b"larger than 100 fields" in answer


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"GET /ping HTTP/1.1\r\nHost: x\r\n"], ids=["no", "no new", "half"])
def test_a_connection_without_a_request_ends(tmp_path: Path, data: bytes) -> None:
    with answering(tmp_path, read_timeout="1s") as (manager, _), connected(manager) as connection:
        connection.sendall(UNKNOWN + b"Content-Length: 5\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 401"
        connection.sendall(b"hello" + data)
        assert re.findall(rb"HTTP/1.1 (\d+)", everything(connection)) == [b"408"], "after a body that came too late"


@contextmanager
def connected_alone(folder: Path, **limits: Any) -> Iterator[tuple[socket.socket, Any]]:
    """Yield the only connection of a manager, for which the kernel holds little, and the gate that counts it."""
    with answering(folder, **limits) as (manager, gate):
        manager.session.close()
        wait_for(lambda: gate.count == 0, "the session is gone")
        with connected(manager) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wait_for(lambda: gate.count == 1, "the connection is accepted")
            [there] = gate._open
            there.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            yield connection, gate


@pytest.mark.parametrize(
    ("version", "reasons"),
    [
        pytest.param(b"1.1", {"not_read"}, id="1.1"),
        pytest.param(b"1.0", set(), id="1.0, whose connection ends with the answer anyway"),
    ],
)
def test_a_connection_with_an_unread_answer_is_closed(tmp_path: Path, version: bytes, reasons: set[str]) -> None:
    with connected_alone(tmp_path, read_timeout="1s") as (connection, gate):
        push(connection, b"GET /api/v1/openapi.json HTTP/%b\r\nHost: x\r\n\r\n" % version * 500)
        wait_for(lambda: gate.count == 0, "it is closed")
        assert {reason for reason, count in gate.ended.items() if count} == reasons


def test_a_connection_with_unread_small_answers_is_closed(tmp_path: Path) -> None:
    with connected_alone(tmp_path, read_timeout="1s") as (connection, gate):
        while push(connection, PING * 5000) == len(PING) * 5000:
            pass
        wait_for(lambda: gate.count == 0, "it is closed")
        assert gate.ended["not_read"] == 1


def test_a_body_in_tiny_chunks_is_accepted(tmp_path: Path) -> None:
    body = json.dumps({"id": "go1", "url": "http://127.0.0.1:9/" + "x" * 900}).encode()
    head = b"POST /workers HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in body)
    with answering(tmp_path) as (manager, _), connected(manager) as connection:
        connection.sendall(head + chunks + b"0\r\nX: y\r\n\r\n")
        assert b'"id":"go1"' in everything(connection)


@pytest.mark.parametrize("path", [b"/api/v1/reports", b"/workers"], ids=["answered before", "read"])
def test_a_body_in_too_many_tiny_chunks_is_rejected_without_blocking_others(tmp_path: Path, path: bytes) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % path
    with answering(tmp_path) as (manager, gate), connected(manager) as connection:
        assert cut_off(connection, lambda turn: b"1\r\na\r\n" * 1000 if turn else head)
        assert gate.ended["header_size"] == 1 or path == b"/api/v1/reports", "unless the answer came before"


def test_a_large_body_may_have_more_chunks(tmp_path: Path) -> None:
    body = json.dumps({"id": "go1", "url": "http://127.0.0.1:9/", "more": "x" * 900_000}).encode()
    head = b"POST /workers HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    parts = [body[place : place + 600] for place in range(0, len(body), 600)]
    assert len(parts) > CHUNKS
    with answering(tmp_path) as (manager, _), connected(manager) as connection:
        connection.sendall(head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n")
        assert b'"id":"go1"' in everything(connection)


@pytest.mark.parametrize(
    ("rest", "status"), [(b"zz\r\n", b"400"), (b"2\r\n{}XX\r\n", b"400"), (b"0\r\n" + b"a:b\r\n" * 150, b"431")]
)
def test_input_that_is_not_http_is_rejected_without_a_log_line(
    tmp_path: Path, rest: bytes, status: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /workers HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with answering(tmp_path) as (manager, _), connected(manager) as connection:
        connection.sendall(head)
        connection.sendall(rest)
        assert re.findall(rb"HTTP/1.1 (\d+)", everything(connection)) == [status]
        with connected(manager) as other:
            other.sendall(LAST)
            assert b"200 OK" in everything(other)
    assert not [record for record in caplog.records if record.exc_info]


def test_expect_100_continue_is_answered(tmp_path: Path) -> None:
    body = b'{"id": "go1"}'
    head = b"POST /workers HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    with answering(tmp_path) as (manager, _), connected(manager) as connection:
        connection.sendall(head)
        assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_a_compressed_body_is_not_decompressed(tmp_path: Path) -> None:
    with answering(tmp_path) as (manager, _):
        headers = {"Content-Encoding": "gzip"}
        packed = gzip.compress(b'{"id": "go1"}')
        answer = manager.session.post(f"{manager.url}/workers", data=packed, headers=headers)
        assert (answer.status_code, "error" in answer.json()) == (400, True)


def test_requests_at_once_are_limited_per_address_and_then_per_token(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"limits": {"connections_per_address": 3}, "trusted_proxies": ["127.0.0.1"]}
    manager = Manager(tmp_path, **settings)
    token = manager.token("r", "read")

    def status(connection: socket.socket, wait: int, *more: str) -> bytes:
        fields = "".join(f"{field}\r\n" for field in ("Host: x", "X-Forwarded-For: 192.0.2.1", *more))
        connection.sendall(f"GET /api/v1/events?after=0&wait={wait} HTTP/1.1\r\n{fields}\r\n".encode())
        return b"" if wait else connection.recv(12)

    shown = f"Authorization: Bearer {token}"
    with manager.answering(), ExitStack() as stack:
        for _ in range(3):
            status(stack.enter_context(connected(manager)), 60)
        last = stack.enter_context(connected(manager))
        wait_for(lambda: status(last, 0) == b"HTTP/1.1 429" or not last.recv(65536), "the address is at its limit")
        last = stack.enter_context(connected(manager))
        assert status(last, 0, shown) == b"HTTP/1.1 200"
        for _ in range(3):
            status(stack.enter_context(connected(manager)), 60, shown)
        wait_for(lambda: fresh(manager, lambda one: status(one, 0, shown)) == b"HTTP/1.1 429", "nor for this token")
        assert pinged(manager), "others are not concerned"
    manager.session.close()


def fresh(manager: Manager, ask: Callable[[socket.socket], bytes]) -> bytes:
    with connected(manager) as connection:
        return ask(connection)


def test_serve_does_not_start_if_the_limits_do_not_work(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check_server()
    monkeypatch.setattr(server_check, "connection_class", lambda _gate: HttpToolsProtocol)
    done = manager.run_here("serve")
    assert done.returncode == 1
    assert "the limits of connections do not work with uvicorn" in done.stderr
    assert "pip install" in done.stderr and capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("package", "release"),
    [
        ("uvicorn", "0.30.0"), ("uvicorn", "0.35.0"), ("uvicorn", "0.40.0"), ("uvicorn", "0.52.4"),
        ("uvicorn", "0.54.1"), ("uvicorn", "0.54.0.post1"), ("uvicorn", "0.54.0rc1"), ("uvicorn", "1.0"),
        ("httptools", "0.6.3"), ("httptools", "0.9.1"), ("httptools", "0.10.0"),
    ],
)  # fmt: skip
def test_an_untested_release_is_refused_with_its_name(
    package: str, release: str, manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: release if name == package else version(name))
    done = manager.run_here("serve")
    oldest, newest = TESTED[package]
    assert done.returncode == 1
    assert f"{package} {release} is installed, {oldest} to {newest} is required" in done.stderr
    assert "`pip install 'uvicorn>=0.53.0,<=0.54.0' 'httptools>=0.6.4,<=0.9.0'`" in done.stderr


def test_an_untested_release_is_refused_even_if_it_cannot_be_imported(tmp_path: Path) -> None:
    """Its name is more useful than that of the part which is missing there."""
    (tmp_path / "uvicorn").mkdir()
    (tmp_path / "uvicorn/__init__.py").write_text("")
    (tmp_path / "uvicorn-9.0.0.dist-info").mkdir()
    (tmp_path / "uvicorn-9.0.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: uvicorn\nVersion: 9.0.0\n")
    words = [sys.executable, "-m", "sitegen", "serve", "--settings", str(tmp_path / "manager.yml")]
    folders = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": folders}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "uvicorn 9.0.0 is installed, 0.53.0 to 0.54.0 is required" in done.stderr


def test_a_package_without_a_known_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", unknown)
    with pytest.raises(SkipjackError, match="uvicorn of an unknown release is installed"):
        require_tested()


@pytest.mark.parametrize("release", ["0.53.0", "0.53", "0.53.1", "0.54", "0.54.0"])
def test_releases_within_the_bounds_are_accepted(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: release if name == "uvicorn" else version(name))
    require_tested()


def test_the_package_declares_the_bounds_that_are_checked() -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    declared = tomllib.loads(project.read_text())["project"]["dependencies"]
    expected = {f"{name}>={oldest},<={newest}" for name, (oldest, newest) in TESTED.items()}
    assert {line for line in declared if line.startswith(("uvicorn", "httptools"))} == expected


@pytest.mark.parametrize(
    "name",
    ["on_response_complete", "on_message_complete", "on_headers_complete", "on_chunk_header", "send_400_response"],
)
def test_the_check_notices_each_missing_callback(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subclass without the callback stands for a uvicorn that does not call it."""

    def without(gate: Any) -> Any:
        return type("Without", (connection_class(gate),), {name: getattr(HttpToolsProtocol, name, None)})

    monkeypatch.setattr(server_check, "connection_class", without)
    with pytest.raises(Exception, match="the limits of connections do not work"):
        check_server()
