"""The short way of reports: what is let onto it, and that it answers as the long one does."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from schemas.records import ManagerSettings
from sitegen import routes, token_store, tokens
from sitegen.access import Access
from sitegen.api_reports import PATH, Reports
from sitegen.bells import Bells
from sitegen.fast_lane import FastLane
from sitegen.ingest import Ingest
from sitegen.model import Entry
from sitegen.refusals import Refusals
from sitegen.store import Store
from sitegen.tokens import digest
from tests.sitegen.kit import NOW, message, report_of, status_of


class Lane:
    """A fast lane before the whole application; it tells which requests were passed on to that."""

    def __init__(self, store: Store, ingest: Ingest) -> None:
        settings = ManagerSettings(body_limit=10_000)
        self.passed_on = 0
        self.access = Access(store, settings)
        self._application = routes.application(store, ingest, settings, Bells(), Refusals(store))
        self._lane = FastLane(self._beyond, Reports(self.access, ingest, store), self.access)

    async def _beyond(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.passed_on += 1
        await self._application(scope, receive, send)

    def ask(self, secret: str, *body: bytes, method: str = "POST", path: str = PATH) -> tuple[int, Any]:
        """Send a request with a body in pieces; gives the status and the answer."""
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": _headers(secret)}
        pieces: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in body[:-1]]
        pieces.append({"type": "http.request", "body": b"".join(body[-1:])})
        sent: list[Message] = []

        async def receive() -> Message:
            return pieces.pop(0)

        async def send(told: Message) -> None:
            sent.append(told)

        asyncio.run(self._lane(scope, receive, send))
        head = dict(sent[0]["headers"])
        answer = b"".join(part["body"] for part in sent[1:])
        assert (int(head[b"content-length"]), head[b"content-type"]) == (
            len(answer),
            b"application/json; charset=utf-8",
        )
        return sent[0]["status"], json.loads(answer)

    def remember(self, secret: str) -> None:
        """Have the token shown a moment ago."""
        self.access.token(Request({"type": "http", "headers": _headers(secret)}))


def _headers(secret: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {secret}".encode())]


@pytest.fixture
def lane(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lane]:
    monkeypatch.setattr(tokens, "REMEMBERED", 600.0)  # a slow machine shall not matter
    for name, scope in (("w1", "worker"), ("alice", "operator")):
        token_store.add(store, name, scope, digest(name), Entry(NOW, "tests", "token add", "", "tests", {}))
    with Ingest(store, lambda: None) as ingest:
        yield Lane(store, ingest)


def report(number: int, **fields: Any) -> bytes:
    return message(report_of(number, status_of()), **fields)


def test_only_who_showed_a_workers_token_just_now_goes_the_short_way(lane: Lane) -> None:
    assert lane.ask("w1", report(1))[0] == 200
    assert lane.passed_on == 1
    for secret in ("w1", "alice"):
        lane.remember(secret)
    status, answer = lane.ask("w1", report(2))
    assert (status, answer["acknowledged"], answer["want"], lane.passed_on) == (200, 2, None, 1)
    assert lane.ask("alice", report(3))[0] == 403
    assert lane.ask("w2", report(3))[0] == 401
    assert lane.ask("w1", method="GET", path="/ping") == (200, {"message": "pong"})
    assert lane.ask("w1", method="GET")[0] == 405
    assert lane.passed_on == 5


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, [report(1)]),
        (200, [report(1)[:100], report(1)[100:200], report(1)[200:]]),
        (200, [report(2)]),
        (400, [b"nonsense"]),
        (400, []),
        (403, [report(1, worker="w2")]),
        (413, [b" " * 6000, b" " * 6000]),
        (422, [b"{}"]),
    ],
    ids=["good", "in pieces", "gap", "no JSON", "empty", "another's", "too large", "no envelope"],
)
def test_both_ways_answer_alike(lane: Lane, status: int, body: list[bytes]) -> None:
    long = lane.ask("w1", *body)
    lane.remember("w1")
    short = lane.ask("w1", *body)
    assert (long[0], short[0], lane.passed_on) == (status, status, 1)
    assert {**long[1], "time": 0} == {**short[1], "time": 0}
