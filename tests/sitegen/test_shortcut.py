"""The first step of every request: one `Host`, and for reports the shortcut, which answers like the application."""

import errno
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from sitegen.web import ingest, token_cache
from sitegen.web.api_reports import PATH, ReportsApi
from sitegen.web.limits import RateLimit
from sitegen.web.pending_reports import PendingDeliveries
from tests.sitegen.kit import PATIENCE, Manager, message, report_of, status_of, wait_for


class Lane:
    """A real manager that counts the requests that pass through the whole application."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.long = 0
        self.server: uvicorn.Server | None = None
        self.secrets = {"w1": manager.token("w1"), "alice": manager.token("alice", "operator"), "nobody": "x"}

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        host, _, port = self.manager.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            yield connection

    def listens(self) -> bool:
        """Return whether new connections are accepted."""
        try:
            with self.connected():
                return True
        except ConnectionRefusedError:
            return False

    def request(self, who: str, body: bytes, *more: str, line: str = f"POST {PATH} HTTP/1.1") -> bytes:
        head = [line, "Host: x", f"Authorization: Bearer {self.secrets[who]}", f"Content-Length: {len(body)}", *more]
        return "\r\n".join([*head, "", ""]).encode() + body

    def ask(self, who: str, body: bytes = b"", *more: str, **named: str) -> tuple[int, Any]:
        """Send a request in one packet; returns the status and the JSON of the answer."""
        with self.connected() as connection:
            connection.sendall(self.request(who, body, *more, **named))
            status, _, answer = read(connection)
        return status, answer

    def remember(self) -> None:
        """Put every token into the cache."""
        for who in self.secrets:
            self.ask(who, line="GET /api/v1/overrides HTTP/1.1")
        self.long = 0


def read(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """Read one answer: status, head and JSON."""
    with connection.makefile("rb", buffering=0) as file:
        status = int(file.readline().split()[1])
        lines = iter(lambda: file.readline().decode().strip(), "")
        head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return status, head, json.loads(file.read(int(head["content-length"])))


@pytest.fixture
def lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lane]:
    monkeypatch.setattr(token_cache, "REMEMBERED", 600.0)  # a slow machine shall not matter
    lane, through = Lane(Manager(tmp_path)), RateLimit.__call__

    async def counted(self: RateLimit, scope: Scope, receive: Receive, send: Send) -> None:
        lane.long += 1
        await through(self, scope, receive, send)

    monkeypatch.setattr(RateLimit, "__call__", counted)
    with lane.manager.answering() as lane.server:
        yield lane
    lane.manager.session.close()


def report(number: int, **fields: Any) -> bytes:
    return message(report_of(number, status_of()), **fields)


def test_only_a_cached_worker_token_takes_the_shortcut(lane: Lane) -> None:
    lane.long = 0
    assert lane.ask("w1", report(1))[0] == 200
    assert lane.long == 1
    lane.remember()
    status, answer = lane.ask("w1", report(2))
    assert (status, answer["acknowledged"], answer["want"], lane.long) == (200, 2, None, 0)
    assert lane.ask("alice", report(3))[0] == 403
    assert lane.ask("nobody", report(3))[0] == 401
    assert lane.ask("w1", line="GET /ping HTTP/1.1") == (200, {"message": "pong"})
    assert lane.ask("w1", line=f"GET {PATH} HTTP/1.1")[0] == 405
    assert lane.long == 4


@pytest.mark.parametrize(
    ("status", "body", "long"),
    [
        (200, report(1), 0),
        (200, report(2), 0),
        (400, b"nonsense", 0),
        (400, b"", 0),
        (403, report(1, worker="w2"), 0),
        (422, b"{}", 0),
    ],
    ids=["good", "gap", "no JSON", "empty", "another's", "no envelope"],
)
def test_the_shortcut_answers_like_the_application(lane: Lane, status: int, body: bytes, long: int) -> None:
    def asked() -> tuple[int, dict[str, str], Any]:
        with lane.connected() as connection:
            connection.sendall(lane.request("w1", body))
            status, head, answer = read(connection)
            return status, head | {"date": "", "content-length": ""}, answer | {"time": 0}

    first = asked()
    lane.remember()
    assert asked() == first
    assert (first[0], lane.long) == (status, long)


def test_a_report_may_arrive_in_parts(lane: Lane) -> None:
    lane.remember()
    whole = lane.request("w1", report(1))
    with lane.connected() as connection:
        for part in (whole[:20], whole[20:-20], whole[-20:]):
            connection.sendall(part)
            assert lane.ask("nobody", line="GET /ping HTTP/1.1")[0] == 200, "others are answered meanwhile"
        assert read(connection)[2]["acknowledged"] == 1
    assert lane.long == 3


def test_a_bug_in_the_shortcut_is_answered_and_logged(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lane.remember()
    monkeypatch.setattr(ReportsApi, "answer", lambda *_: 1 / 0)
    status, answer = lane.ask("w1", report(1))
    assert (status, "this is a bug" in answer["error"], "ZeroDivisionError" in caplog.text) == (500, True, True)


@pytest.mark.parametrize("short", [True, False])
def test_a_lack_of_resources_is_not_a_bug_and_may_pass(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, short: bool
) -> None:
    def fail(*_arguments: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), "report.schema.json")

    if short:
        lane.remember()
    monkeypatch.setattr(ReportsApi, "answer", fail)
    answer = {"error": "the manager is out of resources: see the manager's log"}
    assert lane.ask("w1", report(1)) == (503, answer)
    assert lane.long == (0 if short else 1)
    assert "report.schema.json: Too many open files. Too many files are open: raise the limit" in caplog.text


def test_pipelined_reports_are_answered_in_order(lane: Lane) -> None:
    lane.remember()
    with lane.connected() as connection:
        connection.sendall(b"".join(lane.request("w1", report(number)) for number in (1, 2, 3, 5)))
        answers = [read(connection)[2] for _ in range(4)]
    assert [answer["acknowledged"] for answer in answers] == [1, 2, 3, 3]
    assert [answer["want"] for answer in answers] == [None, None, None, "snapshot"]


def test_a_body_may_arrive_later_than_its_head(lane: Lane) -> None:
    lane.remember()
    first, second = (lane.request("w1", report(number)) for number in (1, 2))
    with lane.connected() as connection:
        connection.sendall(first + second[: second.index(b"{")])
        assert read(connection)[2]["acknowledged"] == 1
        connection.sendall(second[second.index(b"{") :])
        assert read(connection)[2]["acknowledged"] == 2


@pytest.mark.parametrize(("line", "header"), [("1.0", "X: x"), ("1.1", "Connection: close")])
def test_a_connection_closes_when_the_client_asks_for_it(lane: Lane, line: str, header: str) -> None:
    lane.remember()
    with lane.connected() as connection:
        connection.sendall(lane.request("w1", report(1), header, line=f"POST {PATH} HTTP/{line}"))
        _, head, answer = read(connection)
        assert (answer["acknowledged"], head["connection"], lane.long) == (1, "close", 0)
        assert connection.recv(1) == b""


def test_a_report_that_cannot_be_stored_can_be_sent_again(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    lane.remember()
    with lane.connected() as connection, lane.manager.store() as store:
        with store.database.writing(), monkeypatch.context() as hasty:
            hasty.setattr(ingest, "PATIENCE", 0.2)
            connection.sendall(lane.request("w1", report(1)))
            status, head, answer = read(connection)
        assert (status, head["retry-after"]) == (503, "10")
        assert "it has not answered" in answer["error"]
        connection.sendall(lane.request("w1", report(1)))
        assert read(connection)[2]["acknowledged"] == 1
    assert lane.long == 0


def test_a_worker_that_hung_up_does_not_disturb(lane: Lane) -> None:
    lane.remember()
    with lane.manager.store() as store, lane.connected() as staying:
        with store.database.writing():
            with lane.connected() as leaving:
                leaving.sendall(lane.request("w1", report(1)))
            staying.sendall(lane.request("w1", report(2)))
        assert read(staying)[2]["acknowledged"] in (0, 2), "whichever came first"
        wait_for(lambda: store.facts().statuses, "what was sent is kept")


def test_requests_that_wait_are_answered_before_the_end(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    lane.remember()
    entered, enter = threading.Event(), PendingDeliveries.add

    def counted(self: PendingDeliveries, *arguments: Any) -> None:
        enter(self, *arguments)
        entered.set()

    monkeypatch.setattr(PendingDeliveries, "add", counted)
    assert lane.server is not None
    with lane.connected() as connection, lane.manager.store() as store:
        with store.database.writing():
            connection.sendall(lane.request("w1", report(1)))
            assert entered.wait(PATIENCE)
            lane.server.should_exit = True
            wait_for(lambda: not lane.listens(), "no new connection is accepted")
        _, head, answer = read(connection)
    assert (answer["acknowledged"], head["connection"], lane.long) == (1, "close", 0)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lane]:
    """A manager for all requests that change nothing."""
    lane = Lane(Manager(tmp_path_factory.mktemp("standing"), limits={"rate": 1_000_000, "burst": 1_000_000}))
    with lane.manager.answering():
        yield lane
    lane.manager.session.close()


def ask_raw(lane: Lane, request: bytes) -> tuple[int, dict[str, str], Any]:
    with lane.connected() as connection:
        connection.sendall(request)
        return read(connection)


PING = b"GET /ping HTTP/1.1\r\n%s\r\n"
GOOD = [b"x", b"mirrors.example.org", b"192.0.2.7:8080", b"[2001:db8::1]:443", b"a_b.example:", b"xn--mgba.example"]
BAD = [b"", b"a b", b"a/b", b"user@host", b"a:b", b"a:1:2", b"a, b", b"[::1", b"a\\b", b"<a>", b"[a]", b'"a"', b"\xff"]


@pytest.mark.parametrize("host", GOOD)
def test_a_request_that_names_its_host_is_answered(standing: Lane, host: bytes) -> None:
    assert ask_raw(standing, PING % b"Host: %s\r\n" % host)[0] == 200


@pytest.mark.parametrize("host", BAD)
def test_an_invalid_host_is_rejected(standing: Lane, host: bytes) -> None:
    status, head, answer = ask_raw(standing, PING % b"Host: %s\r\n" % host)
    assert (status, head["connection"]) == (400, "close")
    assert "Host" in answer["error"]


@pytest.mark.parametrize("fields", [b"", b"Host: x\r\nHost: x\r\n", b"Host: x\r\nX: y\r\nhost: y\r\n"])
@pytest.mark.parametrize("target", [b"/ping", b"/nothing", b"http://x/ping", PATH.encode()])
def test_a_request_without_exactly_one_host_is_rejected(standing: Lane, fields: bytes, target: bytes) -> None:
    status, _, answer = ask_raw(standing, b"GET %b HTTP/1.1\r\n%b\r\n" % (target, fields))
    assert (status, answer["error"]) == (400, "the request must have one `Host` header")


def test_a_report_without_a_host_is_rejected(lane: Lane) -> None:
    lane.remember()
    whole = lane.request("w1", report(1))
    assert ask_raw(lane, whole.replace(b"Host: x\r\n", b""))[0] == 400
    assert ask_raw(lane, whole.replace(b"Host: x\r\n", b"Host: x\r\nHost: x\r\n"))[0] == 400
    with lane.manager.store() as store:
        assert not store.facts().statuses


def test_http_1_0_needs_no_host(standing: Lane) -> None:
    assert ask_raw(standing, b"GET /ping HTTP/1.0\r\n\r\n")[0] == 200
    assert ask_raw(standing, b"GET /ping HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n")[0] == 400


@pytest.mark.parametrize(
    "target", [b"http://evil.example/ping", b"http://user:pw@evil.example:80/ping", b"HTTP://X/ping"]
)
def test_the_host_of_an_absolute_target_changes_nothing(standing: Lane, target: bytes) -> None:
    assert ask_raw(standing, b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)[::2] == (200, {"message": "pong"})


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/jobs/", "/jobs"),
        ("/jobs/?a=b&c=%2F", "/jobs?a=b&c=%2F"),
        ("/api/v1/mirrors/", "/api/v1/mirrors"),
        ("/api/v1/mirrors/a%2Fb%20c/", None),
        ("/workers/w%20%3F1/jobs/", "/workers/w%20%3F1/jobs"),
        ("http://evil.example/jobs/", "/jobs"),
        ("http://evil.example//jobs/", None),
        ("//jobs/", None),
        ("//evil.example/", None),
        ("/workers//evil.example/", None),
        ("/%5Cevil.example/", None),
        ("/nothing/", None),
        ("/", None),
    ],
)
def test_a_redirect_names_no_host(standing: Lane, target: str, location: str | None) -> None:
    names = ("Host: ", "X-Forwarded-Host: ", "X-Forwarded-Server: ", "Forwarded: host=")
    more = "\r\n".join(f"{name}evil.example" for name in names)
    with standing.connected() as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\n{more}\r\nConnection: close\r\n\r\n".encode())
        received = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    status = int(received.split()[1])
    found = [line.partition(": ")[2] for line in received.splitlines() if line.lower().startswith("location:")]
    assert (status, found) == ((307, [location]) if location else (404, []))
    assert "evil" not in received.replace("//evil.example/", "")


def test_no_answer_copies_the_host(standing: Lane) -> None:
    for path in ("/ping", "/jobs", "/workers", "/api/v1/openapi.json", "/api/v1/mirrors", "/metrics", "/nothing", PATH):
        with standing.connected() as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
            received = b"".join(iter(lambda: connection.recv(65536), b""))
        assert received.startswith(b"HTTP/1.1 ") and b"evil" not in received, path


@pytest.mark.parametrize("kind", ["websocket", "h2c"])
def test_an_upgrade_is_not_made(lane: Lane, kind: str) -> None:
    upgrade = (
        f"Host: x\r\nConnection: Upgrade\r\nUpgrade: {kind}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"
    )
    with lane.connected() as connection:
        connection.sendall(f"GET /ping HTTP/1.1\r\n{upgrade}\r\nGET /jobs HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        status, head, answer = read(connection)
        assert (status, head["connection"], answer) == (200, "close", {"message": "pong"})
        assert connection.recv(1) == b"", "bytes after such a head are not a request"
    hidden = lane.request("w1", report(1))
    body = f"POST /cmd HTTP/1.1\r\n{upgrade}Content-Length: {len(hidden)}\r\n\r\n".encode() + hidden
    with lane.connected() as connection:
        connection.sendall(body)
        status, head, _ = read(connection)
        assert (status, head["connection"], connection.recv(1)) == (400, "close", b"")
    with lane.manager.store() as store:
        assert not store.facts().statuses, "a body was not read as a request"
