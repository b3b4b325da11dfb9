"""Limits per client, and how a client's address is found."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from schemas.records import ClientLimits
from sitegen.web.limits import REMEMBERED, Buckets
from tests.sitegen.kit import PATIENCE, Manager, envelope_of


def test_each_address_has_a_bucket_that_refills() -> None:
    now = [0.0]
    buckets = Buckets(ClientLimits(rate=2, burst=3), lambda: now[0])
    assert [buckets.wait("192.0.2.1") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.wait("192.0.2.2") == 0
    now[0] = 0.5
    assert [buckets.wait("192.0.2.1") for _ in range(2)] == [0, 0.5]
    now[0] = 99
    assert [buckets.wait("192.0.2.1") for _ in range(4)] == [0, 0, 0, 0.5], "at most the burst is saved up"


def test_an_ipv6_64_is_one_client() -> None:
    buckets = Buckets(ClientLimits(rate=1, burst=1), lambda: 0.0)
    assert [buckets.wait(f"2001:db8:0:{net}::{host}") for net, host in ((1, 1), (1, 2), (2, 1))] == [0, 1, 0]


def test_full_buckets_are_dropped() -> None:
    now = [0.0]
    buckets = Buckets(ClientLimits(rate=1, burst=2), lambda: now[0])
    for number in range(REMEMBERED + 5):
        now[0] += 1
        buckets.wait(str(number))
    assert len(buckets._left) < 10


@contextmanager
def limited(folder: Path, **settings: Any) -> Iterator[Manager]:
    manager = Manager(folder, **settings)
    with manager.answering():
        yield manager
    manager.session.close()


def test_the_rate_limit_applies_only_without_a_token(tmp_path: Path) -> None:
    with limited(tmp_path, limits={"rate": 1, "burst": 1}) as manager:
        token = manager.token()
        answers = [manager.session.get(f"{manager.url}/jobs") for _ in range(40)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert int(refused[0].headers["Retry-After"]) >= 1
        assert "too many requests" in refused[0].json()["error"]
        assert {manager.post(envelope_of(), token).status_code for _ in range(40)} == {200}
        assert 429 in {manager.post(envelope_of(), "wrong").status_code for _ in range(40)}


@contextmanager
def connected(manager: Manager) -> Iterator[socket.socket]:
    host, port = manager.address.split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        yield connection


def answered(connection: socket.socket) -> tuple[int, str]:
    """The answer to what was sent, once the manager has hung up."""
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


@pytest.mark.parametrize("size", [40_000, 400_000])
@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_large_head_is_rejected(tmp_path: Path, size: int, end: bytes) -> None:
    with limited(tmp_path, limits={"header_size": "16KiB"}) as manager, connected(manager) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\nX-Long: " + b"y" * size + end)
        assert answered(connection) == (431, "the head is larger than 16384 bytes")


def test_a_slow_client_times_out(tmp_path: Path) -> None:
    with limited(tmp_path, limits={"read_timeout": "1s"}) as manager:
        with connected(manager) as silent, connected(manager) as slow:
            slow.sendall(b"GET /ping HT")
            for connection in (silent, slow):
                assert answered(connection) == (408, "the head did not arrive within 1 s")
        with connected(manager) as connection:
            head = f"POST /api/v1/reports HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {manager.token()}\r\n"
            connection.sendall(head.encode() + b"Content-Length: 100\r\n\r\n{")
            assert answered(connection) == (408, "the body did not arrive within 1 s")


def test_the_connection_of_a_client_that_does_not_read_is_closed(tmp_path: Path) -> None:
    with limited(tmp_path, limits={"read_timeout": "1s"}) as manager, connected(manager) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        with pytest.raises((ConnectionError, BrokenPipeError)):
            while True:
                connection.sendall(request)


def test_connections_beyond_the_limit_are_rejected(tmp_path: Path) -> None:
    with limited(tmp_path, limits={"connections": 3}) as manager:
        manager.session.close()
        held = [socket.create_connection(("127.0.0.1", int(manager.url.rpartition(":")[2]))) for _ in range(3)]
        try:
            for connection in held:
                connection.settimeout(PATIENCE)
            with connected(manager) as one_more:
                assert answered(one_more) == (503, "too many connections: 3 are open")
            held[0].sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
            assert held[0].recv(4096).startswith(b"HTTP/1.1 200 "), "those that were there go on"
        finally:
            for connection in held:
                connection.close()


def registered(manager: Manager, forwarded: str) -> int:
    headers = {"X-Forwarded-For": forwarded}
    answer = requests.post(f"{manager.url}/workers", data='{"id": "go"}', headers=headers, timeout=300)
    return answer.status_code


def test_only_a_trusted_proxy_may_set_the_client_address(tmp_path: Path) -> None:
    writes = {"writes_from": ["192.0.2.0/24"]}
    with limited(tmp_path, tunasync=writes, trusted_proxies=["127.0.0.0/8"]) as manager:
        assert registered(manager, "192.0.2.7") == 200
        assert registered(manager, "192.0.2.7, 198.51.100.1") == 403, "the last one is who came to the proxy"
    with limited(tmp_path, tunasync=writes, trusted_proxies=["203.0.113.1"]) as manager:
        assert registered(manager, "192.0.2.7") == 403


def test_a_proxy_in_a_trusted_network_is_trusted_in_every_notation(tmp_path: Path) -> None:
    with limited(tmp_path, tunasync={"writes_from": ["192.0.2.7/24"]}, trusted_proxies=["127.0.0.9/8"]) as manager:
        assert registered(manager, "192.0.2.1") == 200
        assert registered(manager, "::ffff:192.0.2.1") == 200
        assert registered(manager, "198.51.100.1") == 403


def test_ipv4_clients_of_a_dual_stack_socket_are_distinguished(tmp_path: Path) -> None:
    manager = Manager(tmp_path)
    port = manager.url.rpartition(":")[2]
    settings = {"listen": f"[::]:{port}", "limits": {"rate": 1, "burst": 1}, "trusted_proxies": ["127.0.0.2"]}
    settings |= {"tunasync": {"writes_from": ["192.0.2.7"]}}
    manager.settings_file.write_text(json.dumps(json.loads(manager.settings_file.read_text()) | settings))
    with manager.answering():
        assert 429 in [manager.session.get(f"{manager.url}/ping").status_code for _ in range(40)]
        with socket.create_connection(("127.0.0.1", int(port)), source_address=("127.0.0.2", 0)) as proxy:
            body = b'{"id": "go"}'
            proxy.sendall(
                b"POST /workers HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            proxy.settimeout(PATIENCE)
            assert proxy.recv(4096).startswith(b"HTTP/1.1 200 ")
    manager.session.close()
