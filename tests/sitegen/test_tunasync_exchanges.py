"""Whole exchanges, replayed: every route's answers byte for byte but for moments and named differences."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.sitegen.kit import Manager
from tests.sitegen.recorded import NamedTimes, RecordedExchange, compact, exchanges, expected_here

GO = {"User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip", "Content-Type": "application/json; charset=utf-8"}
RECORDED_URL = "localhost:6000"


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where no process listens, and where no other one can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def manager(tmp_path: Path, nobody: str) -> Iterator[Manager]:
    made = Manager(tmp_path, tunasync={"writes_from": ["127.0.0.1"], "call": [f"http://{nobody}/"]})
    with made.answering():
        yield made
    made.session.close()


def answered(manager: Manager, exchange: RecordedExchange, nobody: str) -> tuple[int, str]:
    body = exchange.body and exchange.body.replace(RECORDED_URL, nobody).encode()
    answer = requests.request(exchange.method, manager.url + exchange.path, data=body, headers=GO, timeout=300)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.text == compact(answer.json()), "written as Go writes it"
    return answer.status_code, compact(_plain(answer.json())).replace(nobody, RECORDED_URL)


def _plain(content: Any) -> Any:
    """Without the one key that tunasync does not have."""
    for record in content if isinstance(content, list) else []:
        record.pop("skipjack", None)
    return content


@pytest.mark.parametrize("file", ["manager.http", "by-hand.http"])
def test_every_answer_is_the_recorded_one(manager: Manager, nobody: str, file: str) -> None:
    found = exchanges(file)
    given = "".join(exchange.body or "" for exchange in found)
    there, here = NamedTimes(given), NamedTimes(given)
    for exchange in found:
        status, expected = expected_here(exchange)
        code, answer = answered(manager, exchange, nobody)
        assert (code, here.named(answer)) == (status, there.named(expected)), exchange.title


def test_the_recording_has_every_route() -> None:
    found = {(exchange.method, exchange.path.replace("w1", "ID").replace("debian", "JOB"))
             for exchange in exchanges("manager.http")}  # fmt: skip
    assert found >= {
        ("GET", "/ping"), ("GET", "/jobs"), ("DELETE", "/jobs/disabled"), ("GET", "/workers"), ("POST", "/workers"),
        ("DELETE", "/workers/ID"), ("GET", "/workers/ID/jobs"), ("POST", "/workers/ID/jobs/JOB"),
        ("POST", "/workers/ID/jobs/JOB/size"), ("POST", "/workers/ID/schedules"), ("POST", "/cmd"),
    }  # fmt: skip
