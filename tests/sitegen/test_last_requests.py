"""The end of serve: it answers requests of accepted connections, since no other process gets them."""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sitegen import serve
from tests.sitegen.kit import PATIENCE, Manager, wait_for
from tests.sitegen.test_certificate import issue

PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


@contextmanager
def ending(manager: Manager) -> Iterator[socket.socket]:
    """A connection that serve accepted before the stop signal; its usual time for last requests is over."""
    host, port = manager.address.split(":")
    with manager.answering() as server:
        manager.session.close()
        gate: Any = server._gate  # type: ignore[attr-defined]
        wait_for(lambda: gate.count == 0, "the session is gone")
        with closing(socket.create_connection((host, int(port)), timeout=PATIENCE)) as accepted:
            wait_for(lambda: gate.count == 1, "the connection is accepted")
            server.should_exit = True
            wait_for(lambda: server._topics.closed, "it has begun to end")  # type: ignore[attr-defined]
            time.sleep(3 * serve._LAST_REQUESTS)  # the time itself is what this is about
            yield accepted


def everything(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture(autouse=True)
def _long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_FIRST_REQUESTS", PATIENCE)


def test_a_connection_that_was_accepted_is_answered_once_and_closed(tmp_path: Path) -> None:
    with ending(Manager(tmp_path)) as connection:
        connection.sendall(PING[:9])
        time.sleep(2 * serve._LAST_REQUESTS)
        connection.sendall(PING[9:])
        said = everything(connection)
    assert said.startswith(b"HTTP/1.1 200 ") and b"connection: close" in said.lower()


def test_the_end_waits_for_a_handshake_that_has_not_begun(tmp_path: Path) -> None:
    certificate = issue(tmp_path / "first")
    manager = Manager(tmp_path, tls=certificate)
    manager.url = manager.url.replace("http:", "https:")
    manager.session.verify = certificate["certificate"]
    context = ssl.create_default_context(cafile=certificate["certificate"])
    with ending(manager) as connection, context.wrap_socket(connection, server_hostname="127.0.0.1") as secure:
        time.sleep(2 * serve._LAST_REQUESTS)
        secure.sendall(PING)
        said = everything(secure)
    assert said.startswith(b"HTTP/1.1 200 ") and b"connection: close" in said.lower()


def test_an_idle_connection_delays_the_end_only_briefly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "_FIRST_REQUESTS", 2 * serve._LAST_REQUESTS)
    with ending(Manager(tmp_path)) as connection:
        assert everything(connection) == b""


def test_the_end_does_not_wait_for_an_idle_connection(tmp_path: Path) -> None:
    manager = Manager(tmp_path)
    host, port = manager.address.split(":")
    with manager.answering() as server, closing(socket.create_connection((host, int(port)), PATIENCE)) as kept:
        kept.sendall(PING)
        assert b"pong" in kept.recv(65536)
        server.should_exit = True
        assert everything(kept) == b""
    manager.session.close()
