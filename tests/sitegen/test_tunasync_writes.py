"""Exchanges that were recorded with a real tunasync manager, and where we do better."""

import http.server
import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.tunasync_rules import after_status, message, new_job, seconds, stamp, status_of
from sitegen.storage import audit_store, tunasync_store
from sitegen.web import caller
from tests.sitegen.go_worker import UPSTREAM, ZERO, Go, serving
from tests.sitegen.kit import PATIENCE, Manager, envelope_of, report_of, run_of
from tests.sitegen.kit import status_of as status_of_ours

NANO = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"


@pytest.fixture
def go(tmp_path: Path) -> Iterator[Go]:
    with serving(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Go]:
    """A worker with a job, for all requests that change nothing."""
    with serving(tmp_path_factory.mktemp("standing")) as made:
        made.register()
        made.status("success", size="1G")
        yield made


def test_before_a_registration_lists_are_empty_and_the_worker_is_unknown(go: Go) -> None:
    assert go.manager.get("/jobs") == go.manager.get("/workers") == []
    unknown = 400, {"error": "invalid workerID w9"}
    assert go.send("GET", "/workers/w9/jobs") == unknown
    assert (
        go.send("POST", "/workers/w9/jobs/debian", {"name": "debian", "worker": "w9", "status": "syncing"}) == unknown
    )
    assert go.send("DELETE", "/workers/w9") == unknown


def test_a_registered_worker_is_listed(go: Go) -> None:
    code, worker = go.register()
    assert (code, list(worker)) == (200, ["id", "url", "token", "last_online", "last_register"])
    assert (worker["id"], worker["url"], worker["token"]) == ("w1", "http://localhost:6000/", "")
    assert re.fullmatch(NANO, worker["last_register"])
    (listed,) = go.manager.get("/workers")
    assert listed == worker | {"token": "REDACTED"}
    assert list(listed) == list(worker)
    assert go.jobs() == []


def test_a_whole_run_is_answered_as_recorded(go: Go) -> None:
    go.register()
    times = {"last_update": ZERO, "last_started": ZERO, "last_ended": ZERO, "next_schedule": ZERO}
    first = go.status("pre-syncing", size="unknown", error_msg="", **times)
    assert list(first) == [
        "name", "worker", "is_master", "status", "last_update", "last_started", "last_ended", "next_schedule",
        "upstream", "size", "error_msg",
    ]  # fmt: skip
    assert re.fullmatch(NANO, first["last_started"])
    assert [first[key] for key in ("last_update", "last_ended", "next_schedule", "size")] == [
        ZERO,
        ZERO,
        ZERO,
        "unknown",
    ]
    syncing = go.status("syncing", size="unknown")
    assert syncing == first | {"status": "syncing"}
    success = go.status("success", size="1.23T")
    assert success["last_update"] == success["last_ended"] > first["last_started"] == success["last_started"]
    assert (success["size"], go.jobs()) == ("1.23T", [success])
    at = "2026-11-22T14:30:05.123456789+08:00"
    schedules = [{"name": "debian", "next_schedule": at}, {"name": "nosuch", "next_schedule": "2026-11-22T14:30:05Z"}]
    assert go.send("POST", "/workers/w1/schedules", {"schedules": schedules}) == (200, {})
    assert go.jobs() == [success | {"next_schedule": at}]
    again = go.status("pre-syncing", size="unknown")
    assert again == success | {
        "status": "pre-syncing", "last_started": again["last_started"], "next_schedule": at,
    }, "a status does not wipe the schedule"  # fmt: skip
    assert again["last_started"] > success["last_ended"]
    failed = go.status("failed", size="unknown", error_msg="exit status 23")
    assert (failed["size"], failed["last_update"], failed["error_msg"]) == (
        "1.23T",
        success["last_update"],
        "exit status 23",
    )
    assert failed["last_ended"] > again["last_started"]
    assert go.send("POST", "/workers/w1/jobs/debian/size", {"Name": "debian", "Size": "3T"}) == (
        200,
        failed | {"size": "3T"},
    )


def test_the_list_for_web_pages_shows_it(go: Go) -> None:
    go.register()
    go.status("pre-syncing")
    success = go.status("success", size="3T")
    (job,) = go.manager.get("/jobs")
    assert (job["name"], job["is_master"], job["status"], job["upstream"], job["size"]) == (
        "debian", True, "success", UPSTREAM, "3T",
    )  # fmt: skip
    assert job["last_update_ts"] == job["last_ended_ts"] == int(seconds(success["last_update"]) or 0)
    assert (job["next_schedule"], job["next_schedule_ts"]) == ("0001-01-01 00:00:00 +0000", -62135596800)
    (worker,) = go.manager.get("/api/v1/workers")["workers"]
    assert (worker["kind"], worker["mirrors"]) == ("tunasync", 1)
    (mirror,) = go.manager.get("/api/v1/mirrors")["mirrors"]
    assert (mirror["freshness"], mirror["size"]) == ("fresh", 3 * 10**12)
    assert [run["status"] for run in go.manager.get("/api/v1/runs")["runs"]] == ["success"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"nonsense", "not valid JSON"),
        (b"[]", "must be a JSON object"),
        ({"name": "", "status": "failed"}, "mirror Name should not be empty"),
        ({"status": "failed"}, "mirror Name should not be empty"),
        ({"name": "arch", "status": "failed"}, "the path about debian"),
        ({"name": "debian", "status": "queued"}, "not a status of tunasync"),
        ({"name": "debian"}, "not a status of tunasync"),
        ({"name": "debian", "status": 7}, "`status` must be text"),
        ({"name": "debian", "status": "failed", "is_master": "yes"}, "`is_master` must be"),
        ({"name": "debian", "status": "failed", "next_schedule": "soon"}, "not a valid RFC 3339 time"),
        ({"name": "debian", "status": "failed", "next_schedule": "2026-13-01T00:00:00Z"}, "not a valid RFC 3339 time"),
    ],
)
def test_a_malformed_status_changes_nothing(standing: Go, body: Any, words: str) -> None:
    before = standing.jobs(), standing.manager.get("/jobs")
    code, answer = standing.send("POST", "/workers/w1/jobs/debian", body)
    assert (code, words in answer["error"]) == (400, True), answer
    assert (standing.jobs(), standing.manager.get("/jobs")) == before


def test_nulls_unknown_keys_and_any_case_are_accepted(go: Go) -> None:
    go.register()
    body = {
        "NAME": "debian",
        "Status": "success",
        "size": None,
        "upstream": None,
        "new_key": {"a": 1},
        "ERROR_MSG": None,
    }
    code, answer = go.send("POST", "/workers/w1/jobs/debian", body)
    assert (code, answer["status"], answer["size"]) == (200, "success", "unknown")
    assert go.send("POST", "/workers/w1/schedules", {"schedules": None}) == (200, {})
    assert go.send("POST", "/workers/w1/jobs/nosuch/size", {"name": "nosuch", "size": "1G"}) == (
        404, {"error": "no mirror 'nosuch' exists in worker 'w1'"},
    )  # fmt: skip


def test_flushing_and_deleting(go: Go) -> None:
    go.register()
    go.status("success")
    go.status("disabled", "arch")
    assert go.send("POST", "/workers/w1/jobs/debian/size", {"name": "debian", "size": "1G"})[0] == 200
    assert [job["name"] for job in go.manager.get("/jobs")] == ["arch", "debian"]
    assert go.send("DELETE", "/jobs/disabled") == (200, {"message": "flushed"})
    assert [job["name"] for job in go.manager.get("/jobs")] == ["debian"] == [job["name"] for job in go.jobs()]
    assert go.send("DELETE", "/workers/w1") == (200, {"message": "deleted"})
    assert go.send("DELETE", "/workers/w1") == (400, {"error": "invalid workerID w1"})
    assert go.manager.get("/jobs") == go.manager.get("/workers") == []
    go.register()
    assert go.manager.get("/jobs") == [], "a worker that registers again starts without jobs"
    with go.manager.store() as store:
        actions = [(entry.who, entry.action, entry.subject) for entry in audit_store.read(store)]
    assert actions == [
        ("tunasync", "set size", "w1"), ("tunasync", "flush disabled", ""), ("tunasync", "delete worker", "w1"),
    ]  # fmt: skip


class Worker(http.server.BaseHTTPRequestHandler):
    """A worker of tunasync that takes commands."""

    taken: list[Any]
    code: int
    before_answer: Callable[[], object]

    def do_POST(self) -> None:
        self.taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.before_answer()
        self.send_response(self.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


@contextmanager
def working(code: int = 200, before_answer: Callable[[], object] = bool) -> Iterator[tuple[str, list[Any]]]:
    """A worker that answers every command with one status, after something else was done."""
    taken: list[Any] = []
    handler = type("Taking", (Worker,), {"taken": taken, "code": code, "before_answer": staticmethod(before_answer)})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/", taken
        finally:
            server.shutdown()
            thread.join()


def test_a_worker_whose_answer_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caller, "TIMEOUT", 0.5)
    given_up = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _address = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-A: ")
            for _piece in range(200):  # each comes before the limit of one is over
                if given_up.wait(0.05):
                    break
                connection.sendall(b"a")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        try:
            with pytest.raises(caller.NotConfirmed, match=r"did not answer within 0\.5 s"):
                caller.post(f"http://127.0.0.1:{listener.getsockname()[1]}/", {"cmd": "disable"})
        finally:
            given_up.set()
            thread.join()


def test_a_command_is_sent_only_to_a_listed_url(tmp_path: Path) -> None:
    command = {"cmd": "disable", "mirror_id": "debian", "worker_id": "w1", "args": None, "options": {"force": True}}
    with working() as (url, taken), serving(tmp_path, call=[url]) as go:
        go.register(url)
        go.status("success")
        sent = 200, {"message": "successfully send command to worker w1"}
        assert go.send("POST", "/cmd", command) == sent
        assert taken == [{"cmd": "disable", "mirror_id": "debian", "args": None, "options": {"force": True}}]
        assert [job["status"] for job in go.jobs()] == ["disabled"]
        go.register(url + "elsewhere")
        code, answer = go.send("POST", "/cmd", command)
        assert (code, "tunasync.call" in answer["error"], len(taken)) == (403, True, 1)


@pytest.mark.parametrize(
    ("verb", "becomes"),
    [
        ("start", "success"), ("stop", "paused"), ("disable", "disabled"), ("restart", "success"), ("ping", "success"),
        ("reload", "success"),
    ],
)  # fmt: skip
def test_every_verb_is_sent_unchanged(tmp_path: Path, verb: str, becomes: str) -> None:
    with working() as (url, taken), serving(tmp_path, call=[url]) as go:
        go.register(url)
        go.status("success")
        order = {"cmd": verb, "mirror_id": "debian", "args": None, "options": None}
        assert go.send("POST", "/cmd", order | {"worker_id": "w1"})[0] == 200
        assert taken == [order]
        assert [job["status"] for job in go.jobs()] == [becomes]


def shown(go: "Go") -> Any:
    return go.manager.get("/api/v1/mirrors/debian")["override"]


def test_a_job_stopped_through_the_manager_shows_who_did_it(tmp_path: Path) -> None:
    with working() as (url, _taken), serving(tmp_path, call=[url]) as go:
        go.register(url)
        go.status("success")
        assert shown(go) is None
        go.send("POST", "/cmd", order("disable"))
        found = shown(go)
        assert (found["kind"], found["by"], found["reason"]) == ("disabled", "tunasync", None)
        go.status("failed")
        assert shown(go) is None, "the worker ends its run"
        go.status("disabled")
        assert shown(go) == found
        go.status("pre-syncing")
        go.status("disabled")
        again = shown(go)
        assert (again["kind"], again["by"]) == ("disabled", None), "it is not known who did it"
        assert again["since"] > found["since"]


def test_a_job_is_unchanged_after_a_rejected_command(tmp_path: Path) -> None:
    with working(500) as (url, _taken), serving(tmp_path, call=[url]) as go:
        go.register(url)
        go.status("paused")
        before = shown(go)
        assert before["kind"] == "paused"
        assert go.send("POST", "/cmd", order("disable"))[0] == 502
        assert shown(go) == before


def order(verb: str, mirror: str = "debian") -> dict[str, Any]:
    return {"cmd": verb, "mirror_id": mirror, "worker_id": "w1", "args": None, "options": None}


def test_a_reload_answered_with_404_was_done(tmp_path: Path) -> None:
    with working(404) as (url, taken), serving(tmp_path, call=[url]) as go:
        go.register(url)
        at = "2026-11-22T14:30:05Z"
        go.status("success", next_schedule=at)
        assert go.send("POST", "/cmd", order("reload", ""))[0] == 200
        assert [each["cmd"] for each in taken] == ["reload"]
        for verb, mirror in (("reload", "debian"), ("start", "debian"), ("disable", "debian")):
            code, answer = go.send("POST", "/cmd", order(verb, mirror))
            assert (code, answer["error"].endswith("it answered 404")) == (502, True), verb
        (job,) = go.jobs()
        assert (job["status"], job["next_schedule"]) == ("success", at), "one that refuses is not marked"


@pytest.mark.parametrize("code", [500, 406])
def test_a_rejected_reload_is_an_error(tmp_path: Path, code: int) -> None:
    with working(code) as (url, _taken), serving(tmp_path, call=[url]) as go:
        go.register(url)
        assert go.send("POST", "/cmd", order("reload", ""))[0] == 502


@pytest.mark.parametrize(
    ("verb", "becomes"), [("disable", "disabled"), ("stop", "paused"), ("restart", "syncing"), ("ping", "syncing")]
)
def test_a_command_with_a_late_answer_is_not_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, becomes: str
) -> None:
    monkeypatch.setattr(caller, "TIMEOUT", 0.2)
    over = threading.Event()
    with working(200, lambda: over.wait(PATIENCE)) as (url, taken), serving(tmp_path, call=[url]) as go:
        go.register(url)
        at = "2026-11-22T14:30:05Z"
        go.status("syncing", next_schedule=at)
        code, answer = go.send("POST", "/cmd", order(verb))
        over.set()
        assert (code, "not confirmed" in answer["message"], len(taken)) == (202, True, 1)
        (job,) = go.jobs()
        assert (job["status"], "not confirmed" in job["error_msg"]) == (becomes, becomes != "syncing")
        assert job["next_schedule"] == (at if becomes == "syncing" else ZERO)
        assert [each["status"] for each in go.manager.get("/jobs")] == [becomes]
        go.status("success")
        (job,) = go.jobs()
        assert (job["status"], job["error_msg"]) == ("success", ""), "the next report is the truth"


def test_a_job_is_marked_before_its_worker_is_called_and_reports_win(tmp_path: Path) -> None:
    seen: list[Any] = []
    managers: list[Go] = []

    def report() -> None:
        seen.extend(job["status"] for job in managers[0].jobs())
        managers[0].status("failed", error_msg="killed")

    with working(500, report) as (url, _taken), serving(tmp_path, call=[url]) as go:
        managers.append(go)
        go.register(url)
        go.status("syncing")
        assert go.send("POST", "/cmd", order("disable"))[0] == 502
        (job,) = go.jobs()
        assert (seen, job["status"], job["error_msg"]) == (["disabled"], "failed", "killed")


def test_a_command_is_not_a_heartbeat_of_its_worker(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/"
    with serving(tmp_path, call=[url]) as go:
        go.register(url)
        go.status("success")
        before = go.manager.get("/workers")
        assert go.send("POST", "/cmd", order("disable"))[0] == 502
        assert go.manager.get("/workers") == before


def test_after_a_manager_restart_a_worker_finds_its_paused_jobs(tmp_path: Path) -> None:
    with serving(tmp_path, alone=True) as go:
        go.register()
        go.status("paused")
        go.status("disabled", "arch")
        before = go.jobs()
    with serving(tmp_path, alone=True) as go:
        assert go.jobs() == before, "else it would start everything at once"
        go.register()
        assert go.jobs() == before
        assert [job["status"] for job in before] == ["disabled", "paused"]


def test_an_unreachable_worker_is_an_error_and_its_job_is_not_marked(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/"
    with serving(tmp_path, call=[url]) as go:
        go.register(url)
        go.status("success")
        command: Any = {"cmd": "disable", "mirror_id": "debian", "worker_id": "w1", "args": None, "options": {}}
        code, answer = go.send("POST", "/cmd", command)
        assert code == 502
        assert answer["error"].startswith(f"post command to worker w1({url}) fail: ")
        assert [job["status"] for job in go.jobs()] == ["success"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (
            {"cmd": "stop", "mirror_id": "debian", "worker_id": "w9", "args": None, "options": None},
            "worker w9 is not registered yet",
        ),
        ({"cmd": "stop", "mirror_id": "debian", "worker_id": ""}, "worker_id is missing"),
        ({"cmd": "explode", "mirror_id": "debian", "worker_id": "w1"}, "not a command of tunasync"),
        (b"{", "not valid JSON"),
    ],
)
def test_an_invalid_command_is_an_error(go: Go, command: Any, words: str) -> None:
    go.register()
    code, answer = go.send("POST", "/cmd", command)
    assert (code, words in answer["error"]) == (400, True), answer


def test_a_command_for_a_skipjack_worker_becomes_a_skipjack_command(go: Go) -> None:
    token = go.manager.token("ours")
    go.manager.post(envelope_of(report_of(1, status_of_ours("debian", "disabled")), worker="ours"), token)
    body = {"cmd": "start", "mirror_id": "debian", "worker_id": "ours", "args": None, "options": {"force": True}}
    assert go.send("POST", "/cmd", body) == (200, {"message": "successfully send command to worker ours"})
    assert go.send("POST", "/cmd", body | {"cmd": "reload", "mirror_id": "", "options": None})[0] == 200
    headers = {"Authorization": f"Bearer {token}"}
    found = requests.get(f"{go.manager.url}/api/v1/commands?worker=ours", headers=headers, timeout=300).json()
    assert [(each["kind"], each["mirrors"], each["force"], each["issued_by"]) for each in found["commands"]] == [
        ("enable", ["debian"], False, "tunasync"),
        ("start", ["debian"], True, "tunasync"),
        ("reload", [], False, "tunasync"),
    ]
    assert go.send("POST", "/workers/ours/jobs/debian", {"name": "debian", "status": "failed"})[0] == 400
    assert go.send("POST", "/workers", {"id": "ours", "url": "http://x/"})[0] == 400


@pytest.mark.parametrize("remembered", [False, True])
def test_a_worker_that_becomes_a_skipjack_worker_keeps_only_its_history(go: Go, remembered: bool) -> None:
    go.register()
    for mirror in ("debian", "gone"):
        go.status("pre-syncing", mirror)
        go.status("success", mirror, size="3T")
    if remembered:
        assert [job["size"] for job in go.manager.get("/jobs")] == ["3T", "3T"]
    ours = status_of_ours("debian", size=5 * 10**9, run=run_of(1, size=5 * 10**9))
    assert go.manager.post(envelope_of(report_of(1, ours)), go.manager.token("w1"))
    assert [(job["name"], job["size"]) for job in go.manager.get("/jobs")] == [("debian", "5.00G")]
    assert [(job["name"], job["size"]) for job in go.jobs()] == [("debian", "5.00G")]
    (worker,) = go.manager.get("/workers")
    assert (worker["id"], worker["url"]) == ("w1", "")
    runs = go.manager.get("/api/v1/runs")["runs"]
    assert sorted(run["mirror"] for run in runs) == ["debian", "debian", "gone"]
    assert go.send("POST", "/workers/w1/jobs/debian", {"name": "debian", "status": "failed"})[0] == 400
    go.send("DELETE", "/workers/w1")
    go.register()
    assert go.jobs() == []


def test_a_skipjack_worker_without_a_report_takes_over_too(go: Go) -> None:
    go.register()
    go.status("success", size="3T")
    go.manager.post(envelope_of(), go.manager.token("w1"))
    assert go.manager.get("/jobs") == []


def test_listed_writers_are_not_limited(tmp_path: Path) -> None:
    limits = {"rate": 1, "burst": 2, "connections_per_address": 2}
    for writes_from, codes in (["127.0.0.0/8"], {200}), (["192.0.2.1"], {200, 429}):
        folder = tmp_path / writes_from[0].partition("/")[0]
        folder.mkdir()
        manager = Manager(folder, limits=limits, tunasync={"writes_from": writes_from})
        with manager.answering():
            assert {manager.session.get(f"{manager.url}/ping", timeout=300).status_code for _ in range(8)} == codes
            unknown = {"X-Forwarded-For": "192.0.2.9"}
            found = [manager.session.get(f"{manager.url}/ping", headers=unknown, timeout=300) for _ in range(8)]
            assert 429 in {each.status_code for each in found}, "clients of an untrusted proxy share a limit"
        manager.session.close()


def test_a_schedule_is_complete_and_writes_only_what_changed(go: Go) -> None:
    go.register()
    for mirror in ("arch", "debian"):
        go.status("success", mirror)
    at, later = "2026-11-22T14:30:05Z", "2026-11-22T15:30:05Z"

    def tell(**times: str) -> dict[str, str]:
        schedules = [{"name": name, "next_schedule": time} for name, time in times.items()]
        assert go.send("POST", "/workers/w1/schedules", {"schedules": schedules}) == (200, {})
        return {job["name"]: job["next_schedule"] for job in go.jobs()}

    def changed(since: int) -> list[str]:
        with go.manager.store() as store, store.transaction() as tx:
            query = "SELECT mirror FROM mirror_state WHERE changed > ? ORDER BY mirror"
            return [row[0] for row in tx.exec_driver_sql(query, (since,))]

    def newest() -> int:
        with go.manager.store() as store:
            return store.changes()

    assert tell(arch=at, debian=at) == {"arch": at, "debian": at}
    before = newest()
    assert tell(arch=at, debian=later) == {"arch": at, "debian": later}
    assert changed(before) == ["debian"]
    before = newest()
    assert tell(debian=later) == {"arch": ZERO, "debian": later}
    assert changed(before) == ["arch"]
    before = newest()
    assert tell(debian=later) == {"arch": ZERO, "debian": later}
    assert changed(before) == []
    assert tell() == {"arch": ZERO, "debian": ZERO}
    assert {job["next_schedule_ts"] for job in go.manager.get("/jobs")} == {-62135596800}


@pytest.mark.parametrize("status", ["paused", "disabled"])
def test_a_paused_or_disabled_job_has_no_next_run_until_it_is_scheduled_again(go: Go, status: str) -> None:
    go.register()
    at = "2026-11-22T14:30:05Z"

    def next_runs() -> tuple[str, int]:
        (listed,) = go.manager.get("/jobs")
        return go.jobs()[0]["next_schedule"], listed["next_schedule_ts"]

    go.status("success")
    schedules = {"schedules": [{"name": "debian", "next_schedule": at}]}
    go.send("POST", "/workers/w1/schedules", schedules)
    assert next_runs() == (at, 1795357805)
    go.status(status, next_schedule=at)
    assert next_runs() == (ZERO, -62135596800)
    go.send("POST", "/workers/w1/schedules", schedules)
    assert next_runs() == (at, 1795357805)


WRITES = [
    ("POST", "/workers"), ("DELETE", "/workers/w1"), ("DELETE", "/jobs/disabled"), ("POST", "/workers/w1/jobs/debian"),
    ("POST", "/workers/w1/jobs/debian/size"), ("POST", "/workers/w1/schedules"), ("POST", "/cmd"),
]  # fmt: skip


@pytest.mark.parametrize("listed", [[], ["192.0.2.0/24", "2001:db8::/32"]])
def test_only_listed_addresses_may_write(tmp_path: Path, listed: list[str]) -> None:
    with serving(tmp_path, writes_from=listed) as go:
        for method, path in WRITES:
            code, answer = go.send(method, path, {"id": "w1"})
            assert (code, "tunasync.writes_from" in answer["error"]) == (403, True)
        assert go.manager.get("/workers") == []


def test_pages_and_unknown_proxies_may_not_write(go: Go) -> None:
    go.register()
    for headers in ({"Origin": "http://evil.example.org"}, {"X-Forwarded-For": "127.0.0.1"}):
        assert go.send("POST", "/workers", {"id": "w1"}, **headers)[0] == 403
        assert go.send("POST", "/workers/w1/jobs/debian", {"name": "debian", "status": "failed"}, **headers)[0] == 403
    assert go.jobs() == []


def test_reading_can_be_turned_off(tmp_path: Path) -> None:
    with serving(tmp_path, reads=False) as go:
        assert go.send("GET", "/jobs")[0] in (404, 405)
        assert go.send("GET", "/ping") == (200, {"message": "pong"})


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (ZERO, None), ("1970-01-01T00:00:01Z", 1.0), ("2026-11-22T14:30:05.123456789+08:00", 1795329005.123456789),
        ("2026-11-22t06:30:05z", 1795329005.0), ("9999-12-31T23:59:59Z", None),
    ],
)  # fmt: skip
def test_times_of_go_are_read(text: str, at: float | None) -> None:
    assert seconds(text) == at


def test_times_are_written_to_the_nanosecond_without_trailing_zeros() -> None:
    assert stamp(1795348114_915826273) == "2026-11-22T11:48:34.915826273Z"
    assert stamp(1795348114_360438070) == "2026-11-22T11:48:34.36043807Z"
    assert stamp(1795348114_000000000) == "2026-11-22T11:48:34Z"


def test_only_pre_syncing_begins_a_new_run() -> None:
    job = new_job("w1", "debian")
    numbers = []
    for number, status in enumerate(["pre-syncing", "syncing", "failed", "pre-syncing", "success", "paused"], 1):
        job = after_status(job, message(json.dumps({"status": status}).encode()), stamp(number * 10**18), number)
        numbers.append(job.run)
    assert numbers == [1, 1, 1, 4, 4, 4]
    assert status_of(job).run is None, "a pause does not end the last run"
    with pytest.raises(RejectedRequest):
        after_status(job, message(b'{"status": "?"}'), stamp(0), 9)


def test_client_limits_do_not_apply_to_statuses_from_listed_addresses(tmp_path: Path) -> None:
    settings: Any = {"limits": {"rate": 1, "burst": 1}, "tunasync": {"writes_from": ["127.0.0.0/8"]}}
    manager = Manager(tmp_path, **settings)
    with manager.store() as store:
        store.write(tunasync_store.register, "w1", "http://localhost:6000/", 10**18)
    with manager.answering():
        go = Go(manager)
        assert [go.status(status)["status"] for status in ("pre-syncing", "syncing", "success") * 3][-1] == "success"
    manager.session.close()
    with manager.store() as store:
        assert [job["status"] for job in tunasync_store.jobs(store, "w1")] == ["success"]
