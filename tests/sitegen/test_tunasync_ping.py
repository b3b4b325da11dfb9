"""`tunasynctl ping` of a Skipjack worker: answered once the worker has answered, or with a timeout."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from sitegen.storage import command_store
from sitegen.web import tunasync_control
from tests.sitegen.go_worker import Go, serving
from tests.sitegen.kit import PATIENCE, envelope_of, report_of, status_of

PING: dict[str, Any] = {"cmd": "ping", "mirror_id": "debian", "worker_id": "ours", "args": None, "options": {}}
"""As `tunasynctl ping -w ours debian` sends it, which cannot leave the mirror out."""


@pytest.fixture
def go(tmp_path: Path) -> Iterator[Go]:
    with serving(tmp_path) as made:
        yield made


def token(go: Go) -> str:
    """Let a Skipjack worker report a mirror; return its token."""
    made = go.manager.token("ours")
    go.manager.post(envelope_of(report_of(1, status_of("debian")), worker="ours"), made)
    return made


def call(go: Go, token: str, method: str, path: str, **more: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{go.manager.url}/api/v1/commands{path}"
    return requests.request(method, url, headers=headers, timeout=PATIENCE, **more).json()


@contextmanager
def polling(go: Go, token: str, outcome: str, reason: str = "") -> Iterator[list[Any]]:
    """A worker that takes one command and answers it; yields what it took."""
    taken: list[Any] = []

    def work() -> None:
        taken.extend(call(go, token, "GET", "?worker=ours&after=0&wait=60")["commands"])
        results = [{"number": each["number"], "outcome": outcome, "reason": reason} for each in taken]
        call(go, token, "POST", "/results", json={"worker": "ours", "results": results})

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield taken
    finally:
        thread.join()


def test_a_ping_is_answered_once_the_worker_has_answered(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunasync_control, "ANSWERED_WITHIN", PATIENCE)
    with polling(go, token(go), "done") as taken:
        assert go.send("POST", "/cmd", PING) == (200, {"message": "successfully send command to worker ours"})
    assert [(each["kind"], each["mirrors"], each["issued_by"]) for each in taken] == [("ping", [], "tunasync")]
    with go.manager.store() as store:
        found = command_store.find(store, "ours", 1)
    assert found is not None
    assert found.state == "done", "it had reached the worker when the answer came"


def test_a_ping_without_an_answer_times_out_and_expires(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunasync_control, "ANSWERED_WITHIN", 0.1)
    secret = token(go)
    code, answer = go.send("POST", "/cmd", PING)
    assert (code, "worker ours fail: it did not answer within 0.1 s" in answer["error"]) == (504, True)
    assert call(go, secret, "GET", "?worker=ours&after=0&wait=0") == {"commands": [], "newest": 1}


def test_other_requests_are_answered_while_a_ping_waits(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunasync_control, "ANSWERED_WITHIN", PATIENCE)
    secret, answers = token(go), list[Any]()
    pings = [threading.Thread(target=lambda: answers.append(go.send("POST", "/cmd", PING)[0])) for _ in range(60)]
    for each in pings:
        each.start()
    found: Any = []
    while len(found) < len(pings):
        assert go.manager.get("/ping") == {"message": "pong"}
        found = call(go, secret, "GET", "?worker=ours&after=0&wait=1")["commands"]
    assert answers == []
    results = [{"number": each["number"], "outcome": "done"} for each in found]
    call(go, secret, "POST", "/results", json={"worker": "ours", "results": results})
    for each in pings:
        each.join()
    assert answers == [200] * len(pings)


def test_a_refused_ping_has_the_reason(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunasync_control, "ANSWERED_WITHIN", PATIENCE)
    with polling(go, token(go), "refused", "This release knows no `ping`."):
        answer = go.send("POST", "/cmd", PING)
    assert answer == (502, {"error": "post command to worker ours fail: This release knows no `ping`."})


def test_a_mirror_that_the_worker_does_not_have_is_an_error(go: Go) -> None:
    secret = token(go)
    unknown = PING | {"mirror_id": "nosuch"}
    assert go.send("POST", "/cmd", unknown) == (404, {"error": "worker ours has no mirror nosuch"})
    assert call(go, secret, "GET", "?worker=ours&after=0&wait=0")["commands"] == []
