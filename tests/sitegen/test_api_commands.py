"""Commands: given by operators, stored, fetched by workers in order, and their results."""

import asyncio
import concurrent.futures
import contextlib
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from schemas.report import Override
from sitegen.messages.commands import NOT_FETCHED, CommandRequest, targets
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import AuditEntry
from sitegen.storage import audit_store, command_store, token_store
from sitegen.web.api_commands import MOST_HELD
from sitegen.web.waiters import Topics
from tests.sitegen.kit import PATIENCE, Manager, envelope_of, report_of, status_of, wait_for


class Site:
    """A running manager to which two workers have reported their mirrors."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.operator, self.reader = manager.token("alice", "operator"), manager.token("rob", "read")
        self.workers = {name: manager.token(name) for name in ("w1", "w2")}

    def begin(self) -> None:
        manager, workers = self.manager, self.workers
        manager.post(envelope_of(report_of(1, status_of("debian"), status_of("arch"))), workers["w1"])
        manager.post(envelope_of(report_of(1, status_of("debian")), worker="w2"), workers["w2"])

    def call(self, method: str, path: str, token: str, body: Any = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self.manager.url}/api/v1/{path}"
        return requests.request(method, url, json=body, headers=headers, timeout=300)

    def give(self, kind: str, *mirrors: str, **more: Any) -> requests.Response:
        return self.call("POST", "commands", self.operator, {"kind": kind, "mirrors": mirrors, **more})

    def fetch(self, after: int = 0, wait: int = 0, worker: str = "w1") -> Any:
        answer = self.call("GET", f"commands?worker={worker}&after={after}&wait={wait}", self.workers[worker])
        assert answer.status_code == 200, answer.text
        return answer.json()

    def finish(self, *results: tuple[int, str, str]) -> Any:
        told = [{"number": number, "outcome": outcome, "reason": reason} for number, outcome, reason in results]
        return self.call("POST", "commands/results", self.workers["w1"], {"worker": "w1", "results": told}).json()

    def state(self, number: int, worker: str = "w1") -> Any:
        return self.call("GET", f"commands/{worker}/{number}", self.reader).json()


@pytest.fixture
def site(manager: Manager) -> Iterator[Site]:
    made = Site(manager)
    with manager.answering():
        made.begin()
        yield made


def test_the_states_of_a_command_from_the_operator_to_its_result(site: Site) -> None:
    given = site.give("start", "debian", "arch", force=True, worker="w1")
    assert given.status_code == 202
    assert [(each["worker"], each["number"], each["state"]) for each in given.json()["commands"]] == [
        ("w1", 1, "queued")
    ]
    site.give("stop", "arch", worker="w1")
    found = site.fetch()
    assert (found["newest"], [each["number"] for each in found["commands"]]) == (2, [1, 2])
    first = found["commands"][0]
    assert (first["kind"], first["mirrors"], first["force"]) == ("start", ["debian", "arch"], True)
    assert first["issued_by"] == "alice"
    assert site.state(1)["state"] == "queued", "that it was sent does not mean that it arrived"
    assert site.fetch(after=1)["commands"][0]["number"] == 2
    assert [site.state(number)["state"] for number in (1, 2)] == ["delivered", "queued"]
    assert site.finish((1, "done", ""), (2, "refused", "It is not here.")) == {"taken": 2}
    assert site.finish((1, "refused", "late"), (9, "done", "")) == {"taken": 0}
    assert (site.state(1)["state"], site.state(2)["reason"]) == ("done", "It is not here.")
    assert site.fetch() == {"commands": [], "newest": 2}, "what has ended is not sent again"
    page = site.call("GET", "commands/w1?limit=1", site.reader).json()
    assert ([each["number"] for each in page["commands"]], page["before"]) == ([2], 2)


def test_without_a_worker_every_worker_with_the_mirror_gets_the_command(site: Site) -> None:
    given = site.give("restart", "debian", "arch").json()["commands"]
    assert [(each["worker"], each["mirrors"]) for each in given] == [("w1", ["debian", "arch"]), ("w2", ["debian"])]
    assert [each["worker"] for each in site.give("reload").json()["commands"]] == ["w1", "w2"]
    assert [each["number"] for each in site.fetch(worker="w2")["commands"]] == [1, 2]


@pytest.mark.parametrize(
    ("order", "status", "words"),
    [
        ({"kind": "start", "mirrors": ["nosuch", "debian"]}, 404, "no mirror nosuch"),
        ({"kind": "start", "mirrors": ["arch"], "worker": "w2"}, 404, "worker w2 has no mirror arch"),
        ({"kind": "ping", "worker": "w9"}, 404, "no worker w9"),
        ({"kind": "start"}, 422, "name the mirrors"),
        ({"kind": "reload", "mirrors": ["debian"]}, 422, "takes no mirrors"),
        ({"kind": "stop", "mirrors": ["debian"], "force": True}, 422, "only `start` can be forced, not `stop`"),
        ({"kind": "explode", "mirrors": ["debian"]}, 422, "$.kind"),
        ({"kind": "start", "mirrors": ["debian\n"]}, 422, "$.mirrors[0]"),
        ({"kind": "start", "mirrors": ["debian"], "forse": True}, 422, "forse"),
        ([], 422, "$"),
    ],
)
def test_an_invalid_command_is_rejected(site: Site, order: Any, status: int, words: str) -> None:
    answer = site.call("POST", "commands", site.operator, order)
    assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text
    assert site.fetch() == {"commands": [], "newest": 0}


def test_each_token_allows_only_its_scope(site: Site) -> None:
    order = {"kind": "ping"}
    for token in (site.workers["w1"], site.reader):
        assert site.call("POST", "commands", token, order).status_code == 403
    assert site.call("POST", "commands", "", order).status_code == 401
    for token in (site.operator, site.reader, site.workers["w2"]):
        assert site.call("GET", "commands?worker=w1", token).status_code == 403
    results = {"worker": "w1", "results": []}
    assert site.call("POST", "commands/results", site.workers["w2"], results).status_code == 403
    for path in ("commands/w1", "commands/w1/1", "overrides"):
        assert site.call("GET", path, site.workers["w1"]).status_code == 403


def test_a_held_request_is_answered_by_a_new_command(site: Site) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        other = pool.submit(site.fetch, 0, 3, "w2")
        held = pool.submit(site.fetch, 0, 50)
        assert not held.done()
        site.give("ping", worker="w1")
        assert [each["kind"] for each in held.result(PATIENCE)["commands"]] == ["ping"]
        assert other.result(PATIENCE) == {"commands": [], "newest": 0}, "it was not for that worker"


def test_a_token_that_is_revoked_while_its_request_is_held_gets_no_command(site: Site) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(site.call, "GET", "commands?worker=w1&wait=50", site.workers["w1"])
        with site.manager.store() as store:
            (token,) = (each for each in token_store.every(store) if each.name == "w1")
            assert token_store.revoke(
                store, token.id, AuditEntry(time.time(), "tests", "token revoke", "", "tests", {})
            )
        wait_for(lambda: site.call("GET", "commands", site.workers["w1"]).status_code == 401, "it is noticed")
        assert not held.done()
        assert site.give("ping", worker="w1").status_code == 202
        assert held.result(PATIENCE).status_code == 401


def test_held_requests_are_answered_when_the_manager_ends(manager: Manager) -> None:
    site = Site(manager)
    with manager.serving() as process, concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(site.fetch, 7, 60)
        with manager.store() as store:
            wait_for(lambda: command_store.newest(store) == {"w1": 7}, "the request is under way")
        process.terminate()
        assert held.result(PATIENCE) == {"commands": [], "newest": 7}
        process.communicate(timeout=300)
        assert process.returncode == 143


def test_commands_and_their_numbers_survive_a_restart(manager: Manager) -> None:
    site = Site(manager)
    with manager.serving() as process:
        site.begin()
        assert site.give("ping", worker="w1").status_code == 202
        process.kill()
        process.wait()
    with manager.serving():
        assert [each["number"] for each in site.fetch()["commands"]] == [1]
        assert site.give("ping", worker="w1").json()["commands"][0]["number"] == 2


def test_a_manager_that_lost_its_database_continues_from_the_workers_number(site: Site) -> None:
    assert site.fetch(after=41) == {"commands": [], "newest": 41}
    assert site.give("ping", worker="w1").json()["commands"][0]["number"] == 42
    assert [each["number"] for each in site.fetch(after=41)["commands"]] == [42]


def test_a_command_that_is_not_fetched_expires(site: Site) -> None:
    for number in (1, 2):
        assert site.give("ping", worker="w1").json()["commands"][0]["number"] == number
    with site.manager.store() as store, store.transaction(writing=True) as tx:
        tx.exec_driver_sql("UPDATE commands SET issued_at = issued_at - 8 * 86400 WHERE number = 1")
    assert [each["number"] for each in site.fetch()["commands"]] == [2]
    told = site.state(1)
    assert (told["state"], told["delivered_at"], told["reason"]) == ("expired", None, NOT_FETCHED)
    assert told["ended_at"] > told["issued_at"]
    page = site.call("GET", "commands/w1", site.reader).json()["commands"]
    assert [each["state"] for each in page] == ["queued", "expired"]


def test_many_at_once_are_numbered_without_gaps(site: Site) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: site.give("ping", worker="w1"), range(40)))
    assert {answer.status_code for answer in answers} == {202}
    assert [each["number"] for each in site.fetch()["commands"]] == list(range(1, 41))


def test_every_command_is_in_the_audit(site: Site) -> None:
    site.give("disable", "debian", worker="w2")
    with site.manager.store() as store:
        entry = audit_store.read(store)[-1]
    assert (entry.who, entry.action, entry.subject, entry.origin) == ("alice", "command disable", "w2", "127.0.0.1")
    assert entry.details == {"number": 1, "mirrors": ["debian"], "force": False}


def test_only_a_stop_and_a_disable_may_have_a_note(site: Site) -> None:
    site.give("disable", "arch", worker="w1", note="  new\ndisk ")
    assert [each["note"] for each in site.fetch()["commands"]] == ["new disk"]
    assert site.state(1)["note"] == "new disk"
    refused = {"kind": "start", "mirrors": ["arch"], "worker": "w1", "note": "x"}
    answer = site.call("POST", "commands", site.operator, refused)
    assert (answer.status_code, answer.json()["error"]) == (
        422, "$.note: only `stop` and `disable` take a note, not `start`",
    )  # fmt: skip


def test_a_reported_override_is_shown_as_reported(site: Site) -> None:
    told = status_of("arch", "paused")._replace(override=Override("paused", 5.0, "ada", "new disk"))
    site.manager.post(envelope_of(report_of(2, told)), site.workers["w1"])
    shown = {"kind": "paused", "since": 5.0, "by": "ada", "reason": "new disk"}
    assert site.call("GET", "overrides", site.reader).json()["overrides"] == [
        {"worker": "w1", "mirror": "arch", **shown}
    ]
    plain = site.manager.get("/api/v1/mirrors/arch")
    assert (plain["override"], plain["copies"][0]["override"], plain["held"]) == (shown, shown, False)


def test_an_override_shows_who_gave_the_command(site: Site) -> None:
    manager = site.manager
    manager.post(
        envelope_of(report_of(2, status_of("arch", "paused"), status_of("debian", "disabled"))), site.workers["w1"]
    )
    site.give("stop", "arch", worker="w1")
    site.fetch(after=1)
    site.finish((1, "done", ""))
    found = site.call("GET", "overrides", site.reader).json()["overrides"]
    assert [(each["mirror"], each["kind"], each["by"]) for each in found] == [
        ("arch", "paused", "alice"),
        ("debian", "disabled", None),
    ]
    assert found[0]["since"] == site.state(1)["ended_at"]


def test_each_worker_gets_a_command_with_its_own_mirrors() -> None:
    carried = {"w1": frozenset({"a"}), "w2": frozenset({"b"})}
    assert targets(CommandRequest("start", ("a", "b"), False, None), carried) == {"w1": ("a",), "w2": ("b",)}
    with pytest.raises(RejectedRequest, match="no mirror c"):
        targets(CommandRequest("start", ("a", "c"), False, None), carried)


def heard(connection: socket.socket, words: bytes) -> bool:
    return words in received(connection)


def received(connection: socket.socket) -> bytes:
    """Return a whole answer with commands; a part of one if the connection has ended."""
    found = b""
    while b'"newest":' not in found and (chunk := connection.recv(4096)):
        found += chunk
    return found


def hold(manager: Manager, worker: str, token: str, stack: contextlib.ExitStack) -> socket.socket:
    """Return a connection with a held request for a worker's commands."""
    host, port = manager.address.split(":")
    connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE))
    ask(connection, worker, token)
    return connection


def ask(connection: socket.socket, worker: str, token: str) -> None:
    line = f"GET /api/v1/commands?worker={worker}&wait={WAIT} HTTP/1.1"
    connection.sendall(f"{line}\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())


WAIT = 60
"""Seconds for which a request is held."""


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.release)])
def test_many_held_requests_wait_for_their_own_command(tmp_path: Path, count: int) -> None:
    """The manager holds all requests in one process, and answers only those of the command's worker."""
    limits = {"connections_per_address": 2000, "rate": 10_000, "burst": 10_000}
    manager = Manager(tmp_path, limits=limits)
    with manager.serving(), contextlib.ExitStack() as stack:
        site = Site(manager)
        site.begin()
        tokens = {f"h{number}": manager.token(f"h{number}") for number in range(count // MOST_HELD)}
        for worker, token in tokens.items():
            manager.post(envelope_of(worker=worker), token)
        held = [
            (worker, time.monotonic(), hold(manager, worker, tokens[worker], stack))
            for worker in tokens
            for _ in range(MOST_HELD)
        ]
        site.give("ping", worker="w1")
        assert [each["kind"] for each in site.fetch(wait=1)["commands"]] == ["ping"]
        given_at = time.monotonic()
        site.give("ping")
        for worker, asked_at, connection in held:
            answer = received(connection)
            if b'"ping"' not in answer and given_at - asked_at > WAIT / 2:
                # The machine is so slow that the time of this request may have been over before the command was given.
                ask(connection, worker, tokens[worker])
                answer = received(connection)
            assert b'"ping"' in answer
    manager.session.close()


def test_one_worker_cannot_hold_any_number_of_requests(site: Site) -> None:
    manager, secret = site.manager, site.workers["w1"]
    with contextlib.ExitStack() as stack:
        first = hold(manager, "w1", secret, stack)
        others = [hold(manager, "w1", secret, stack) for _ in range(MOST_HELD)]
        wait_for(lambda: select.select([first, *others], [], [], 0)[0], "one is answered, long before its time is over")
        [answered] = select.select([first, *others], [], [], 0)[0]
        assert heard(answered, b'"commands":[]')
        site.give("ping", worker="w1")
        assert all(heard(connection, b'"ping"') for connection in {first, *others} - {answered})


def test_a_notification_wakes_only_subscribers_of_its_topic() -> None:
    async def story() -> tuple[bool, bool, int]:
        topics = Topics()
        with topics.subscribed("a") as one, topics.subscribed("b") as other:
            topics.notify("a")
            woken = one.is_set(), other.is_set()
        return *woken, topics.count("a")

    assert asyncio.run(story()) == (True, False, 0)
