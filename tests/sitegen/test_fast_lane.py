"""The short way of reports: what is let onto it, and that it answers as the long one does."""

import json
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
from sitegen.web.api_reports import PATH, Reports
from sitegen.web.limits import RateLimit
from sitegen.web.waiting import Room
from tests.sitegen.kit import PATIENCE, Manager, message, report_of, status_of, wait_for


class Lane:
    """A real manager, and how many requests went through its whole application."""

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
        """Whether anybody new is let in."""
        try:
            with self.connected():
                return True
        except ConnectionRefusedError:
            return False

    def request(self, who: str, body: bytes, *more: str, line: str = f"POST {PATH} HTTP/1.1") -> bytes:
        head = [line, "Host: x", f"Authorization: Bearer {self.secrets[who]}", f"Content-Length: {len(body)}", *more]
        return "\r\n".join([*head, "", ""]).encode() + body

    def ask(self, who: str, body: bytes = b"", *more: str, **named: str) -> tuple[int, Any]:
        """Send a request in one piece; gives the status and the JSON of the answer."""
        with self.connected() as connection:
            connection.sendall(self.request(who, body, *more, **named))
            status, _, answer = read(connection)
        return status, answer

    def remember(self) -> None:
        """Have every token shown a moment ago."""
        for who in self.secrets:
            self.ask(who, line="GET /api/v1/overrides HTTP/1.1")
        self.long = 0


def read(connection: socket.socket) -> tuple[int, dict[str, str], Any]:
    """One answer: status, head and JSON."""
    with connection.makefile("rb", buffering=0) as file:
        status = int(file.readline().split()[1])
        lines = iter(lambda: file.readline().decode().strip(), "")
        head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return status, head, json.loads(file.read(int(head["content-length"])))


@pytest.fixture
def lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lane]:
    monkeypatch.setattr(token_cache, "REMEMBERED", 600.0)  # a slow machine shall not matter
    monkeypatch.setattr(Reports, "knows_revision", lambda _self: True)
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


def test_only_who_showed_a_workers_token_just_now_goes_the_short_way(lane: Lane) -> None:
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
        (400, b"nonsense", 1),
        (400, b"", 1),
        (403, report(1, worker="w2"), 1),
        (422, b"{}", 1),
    ],
    ids=["good", "gap", "no JSON", "empty", "another's", "no envelope"],
)
def test_both_ways_answer_alike(lane: Lane, status: int, body: bytes, long: int) -> None:
    def asked() -> tuple[int, dict[str, str], Any]:
        with lane.connected() as connection:
            connection.sendall(lane.request("w1", body))
            status, head, answer = read(connection)
            return status, head | {"date": "", "content-length": ""}, answer | {"time": 0}

    first = asked()
    lane.remember()
    assert asked() == first
    assert (first[0], lane.long) == (status, long)


def test_what_does_not_come_in_one_piece_goes_the_long_way(lane: Lane) -> None:
    lane.remember()
    whole = lane.request("w1", report(1))
    with lane.connected() as connection:
        connection.sendall(whole[:-20])
        wait_for(lambda: lane.long, "the application waits for the rest")
        connection.sendall(whole[-20:])
        assert read(connection)[2]["acknowledged"] == 1


def test_reports_that_are_sent_before_the_last_one_was_answered_are_answered_in_turn(lane: Lane) -> None:
    lane.remember()
    with lane.connected() as connection:
        connection.sendall(b"".join(lane.request("w1", report(number)) for number in (1, 2, 3, 5)))
        answers = [read(connection)[2] for _ in range(4)]
    assert [answer["acknowledged"] for answer in answers] == [1, 2, 3, 3]
    assert [answer["want"] for answer in answers] == [None, None, None, "snapshot"]


def test_a_body_whose_head_came_with_the_last_report_is_not_waited_for_without_end(lane: Lane) -> None:
    lane.remember()
    first, second = (lane.request("w1", report(number)) for number in (1, 2))
    with lane.connected() as connection:
        connection.sendall(first + second[: second.index(b"{")])
        assert read(connection)[2]["acknowledged"] == 1
        wait_for(lambda: lane.long, "the application waits for the rest, but no longer than it may")
        connection.sendall(second[second.index(b"{") :])
        assert read(connection)[2]["acknowledged"] == 2


@pytest.mark.parametrize(("line", "header"), [("1.0", "X: x"), ("1.1", "Connection: close")])
def test_who_wants_no_more_is_hung_up_on(lane: Lane, line: str, header: str) -> None:
    lane.remember()
    with lane.connected() as connection:
        connection.sendall(lane.request("w1", report(1), header, line=f"POST {PATH} HTTP/{line}"))
        _, head, answer = read(connection)
        assert (answer["acknowledged"], head["connection"], lane.long) == (1, "close", 0)
        assert connection.recv(1) == b""


def test_what_is_not_kept_is_refused_and_can_be_sent_again(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_what_waits_for_the_database_is_answered_before_the_end(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    lane.remember()
    entered, enter = threading.Event(), Room.enter

    def counted(self: Room, *arguments: Any) -> None:
        enter(self, *arguments)
        entered.set()

    monkeypatch.setattr(Room, "enter", counted)
    assert lane.server is not None
    with lane.connected() as connection, lane.manager.store() as store:
        with store.database.writing():
            connection.sendall(lane.request("w1", report(1)))
            assert entered.wait(PATIENCE)
            lane.server.should_exit = True
            wait_for(lambda: not lane.listens(), "nobody new is let in")
        _, head, answer = read(connection)
    assert (answer["acknowledged"], head["connection"], lane.long) == (1, "close", 0)
