"""Two managers on one PostgreSQL: one publishes, the other is on standby."""

import concurrent.futures
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from schemas.records import DatabaseAddress
from sitegen.lease import LIFE, Lease, LeaseLost
from sitegen.storage import check_store, token_store
from sitegen.storage.database import Database
from sitegen.storage.dialects import PUBLISHERS_LOCK, Postgresql
from sitegen.storage.store import Store
from sitegen.web.db_timeout import PATIENCE, THREADS
from tests.sitegen import kit
from tests.sitegen.kit import (
    Manager,
    delivery_of,
    end,
    envelope_of,
    message,
    plain,
    report_of,
    run_of,
    status_of,
    wait_for,
)
from tests.system.postgresql import Server, Sharing

HOLDERS = (
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32) | objid::bigint = %s"
)


@pytest.fixture
def server() -> Iterator[Server]:
    """One of its own for each test: they stop and freeze it."""
    with Server() as running:
        yield running


@pytest.fixture
def address(server: Server) -> DatabaseAddress:
    return server.database("skipjack")


@pytest.fixture
def managers(tmp_path: Path, address: DatabaseAddress) -> list[Manager]:
    return [Sharing(tmp_path / name, address) for name in ("one", "two")]


@contextlib.contextmanager
def publishing(manager: Manager) -> Iterator["subprocess.Popen[str]"]:
    with manager.popen("publish") as process:
        try:
            yield process
        finally:
            end(process)


def holders(server: Server) -> list[Any]:
    return [pid for (pid,) in server.execute(HOLDERS, [PUBLISHERS_LOCK])]


def tells(manager: Manager, mirror: str) -> bool:
    return (manager.site / "mirrors" / f"{mirror}.json").exists()


def wait_for_one(managers: list[Manager], mirror: str) -> Manager:
    """Wait until a manager publishes the mirror; return the only one that does."""
    wait_for(lambda: any(tells(manager, mirror) for manager in managers), f"a manager publishes {mirror}")
    (found,) = [manager for manager in managers if tells(manager, mirror)]
    return found


def written(manager: Manager) -> list[float]:
    return sorted(path.stat().st_mtime for path in manager.site.rglob("*") if path.is_file())


def test_the_second_publisher_takes_over_when_the_first_is_killed(
    server: Server, address: DatabaseAddress, managers: list[Manager]
) -> None:
    one, two = managers
    with Store("", address) as store, publishing(one) as first:
        store.apply([delivery_of(report_of(1, status_of("a")))])
        wait_for(lambda: tells(one, "a"), "the first publishes")
        with publishing(two) as second:
            assert second.stderr is not None
            assert "standing by: another publisher" in second.stderr.readline()
            store.apply([delivery_of(report_of(2, status_of("b")))])
            wait_for(lambda: tells(one, "b"), "the first goes on, woken by the database alone")
            assert not two.site.exists()
            assert len(holders(server)) == 1
            killed = time.time()
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            wait_for(lambda: tells(two, "b"), "the second has taken over")
            assert written(one)[-1] <= killed < written(two)[0]
            store.apply([delivery_of(report_of(3, status_of("c")))])
            wait_for(lambda: tells(two, "c"), "and goes on")


def test_a_publisher_on_standby_has_started_and_prints_what_it_waits_for(
    address: DatabaseAddress, managers: list[Manager], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = managers
    Store("", address).close()
    with publishing(one) as first, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        wait_for((one.site / "status.json").exists, "the first publishes")
        told.bind(str(tmp_path / "notify"))
        told.settimeout(300)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with publishing(two):
            assert told.recv(1000).startswith(b"READY=1\nSTATUS=standing by: another publisher is running on ")
            end(first)
            assert told.recv(1000) == b"READY=1\nSTATUS=keeping the site up to date"


def test_who_loses_the_connection_stops_before_the_other_begins(
    server: Server, address: DatabaseAddress, managers: list[Manager]
) -> None:
    one, two = managers
    with Store("", address) as store, publishing(one), publishing(two):
        store.apply([delivery_of(report_of(1, status_of("m0")))])
        wait_for_one(managers, "m0")
        for number in (1, 2):
            (holder,) = holders(server)
            lost = time.time()
            server.execute("SELECT pg_terminate_backend(%s)", [holder])
            store.apply([delivery_of(report_of(number + 1, status_of(f"m{number}")))])
            told = wait_for_one(managers, f"m{number}")
            assert len(holders(server)) == 1
            (other,) = (manager for manager in managers if manager is not told)
            begun = min(at for at in written(told) if at > lost + LIFE)
            assert all(at < begun for at in written(other)), "the other may have ended a file that it was at"


def test_both_live_through_a_restart_of_the_server(
    server: Server, address: DatabaseAddress, managers: list[Manager]
) -> None:
    one, two = managers
    with Store("", address) as store, publishing(one) as first, publishing(two) as second:
        store.apply([delivery_of(report_of(1, status_of("a")))])
        wait_for_one(managers, "a")
        server.stop()
        server.start()
        store.apply([delivery_of(report_of(2, status_of("b")))])
        wait_for_one(managers, "b")
        assert first.poll() is second.poll() is None


def test_the_lock_is_given_up_when_the_server_stops_answering(server: Server, address: DatabaseAddress) -> None:
    woken: list[int] = []
    Store("", address).close()
    with Lease(Postgresql(address), lambda: woken.append(1), wait=False) as lease:
        lease.check()
        woken.clear()
        server.freeze(True)
        try:
            wait_for(lambda: is_over(lease), "the lease is lost")
        finally:
            server.freeze(False)
        wait_for(lambda: woken, "the publisher is woken")
        assert is_over(lease), "a lost lease stays lost"


def test_an_answer_that_came_too_late_brings_no_turn_back(address: DatabaseAddress) -> None:
    lease = Lease(Postgresql(address), lambda: None, wait=False)

    class Late:
        def exec_driver_sql(self, _text: str) -> "Late":
            wait_for(lambda: is_over(lease), "the lease is lost")
            return self

        def scalar(self) -> int:
            return 1

    lease._connection = Late()  # type: ignore[assignment]
    lease._until = time.clock_gettime(time.CLOCK_BOOTTIME) + 0.2
    with pytest.raises(LeaseLost):
        lease._beat()
    assert is_over(lease)


def is_over(lease: Lease) -> bool:
    try:
        lease.check()
    except LeaseLost:
        return True
    return False


def test_serve_reports_a_lost_server_and_recovers_when_it_is_back(
    server: Server, address: DatabaseAddress, managers: list[Manager]
) -> None:
    manager, _ = managers
    with Store("", address) as store:
        token = new_token(store)
    with manager.serving() as process:
        assert manager.post(envelope_of(report_of(1, status_of("a"))), token).json()["acknowledged"] == 1
        server.stop()
        refused = manager.post(envelope_of(report_of(2, status_of("b"))), token)
        assert refused.status_code == 503
        assert "cannot use the manager's database" in refused.json()["error"]
        server.start()
        assert manager.post(envelope_of(report_of(2, status_of("b"))), token).json()["acknowledged"] == 2
        assert sorted(job["name"] for job in manager.get("/jobs")) == ["a", "b"]
        assert process.poll() is None


def test_while_the_server_hangs_requests_without_it_are_answered(
    server: Server, address: DatabaseAddress, managers: list[Manager]
) -> None:
    manager, _ = managers
    with Store("", address) as store:
        token = new_token(store)
    with manager.serving(), concurrent.futures.ThreadPoolExecutor(1) as pool:
        server.freeze(True)
        try:
            held = pool.submit(manager.post, envelope_of(report_of(1, status_of())), token)
            for _ in range(20):
                assert manager.session.get(f"{manager.url}/ping", timeout=300).status_code == 200
            assert not held.done()
        finally:
            server.freeze(False)
        assert held.result(300).json()["acknowledged"] == 1


@contextlib.contextmanager
def frozen(server: Server) -> Iterator[None]:
    server.freeze(True)
    try:
        yield
    finally:
        server.freeze(False)


def test_a_hanging_server_is_reported_to_each_client_in_time_and_used_again(
    server: Server, address: DatabaseAddress, managers: list[Manager]
) -> None:
    manager, _ = managers
    with Store("", address) as store:
        secrets = [new_token(store, f"w{number}") for number in range(60)]
    order = {"kind": "stop", "mirrors": ["debian"]}

    def report(number: int) -> requests.Response:
        envelope = envelope_of(report_of(1, status_of(run=run_of(1))), worker=f"w{number}")
        return requests.post(f"{manager.url}/api/v1/reports", json=plain(envelope), headers=held[number], timeout=300)

    held = [{"Authorization": f"Bearer {secret}"} for secret in secrets]
    with manager.serving("--publish") as process, concurrent.futures.ThreadPoolExecutor(64) as pool:
        assert report(0).json()["acknowledged"] == 1
        wait_for(lambda: tells(manager, "debian"), "the site is there")
        with frozen(server):
            answers = list(pool.map(report, range(60)))
            answers += pool.map(lambda path: requests.get(f"{manager.url}{path}", timeout=300), READS)
            answers.append(requests.post(f"{manager.url}/api/v1/commands", json=order, headers=held[0], timeout=300))
            threads = len(list(Path(f"/proc/{process.pid}/task").iterdir()))
            assert {answer.status_code for answer in answers} == {503}
            assert {answer.headers["Retry-After"] for answer in answers} == {"10"}
            why = [answer.json()["error"] for answer in answers]
            assert all(each.startswith("cannot use the manager's database: it has not answered") for each in why)
            assert threads < THREADS + 20
            assert requests.get(f"{manager.url}/ping", timeout=300).status_code == 200
        assert {answer.json()["acknowledged"] for answer in pool.map(report, range(60))} == {1}
        wait_for(lambda: len(copies(manager)) == 60, "the site catches up")
    with Store("", address) as store, store.transaction() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM runs").scalar() == 60, "what was committed late counts once"


READS = ("/jobs", "/metrics", "/api/v1/mirrors", "/api/v1/runs", "/api/v1/events?after=0&wait=5")


def copies(manager: Manager) -> list[Any]:
    [mirror] = manager.status()["mirrors"]
    return list(mirror["copies"])


def test_serve_and_publish_can_be_stopped_while_the_server_hangs(
    server: Server, address: DatabaseAddress, managers: list[Manager]
) -> None:
    manager, other = managers
    with Store("", address) as store:
        token = new_token(store)
    with manager.serving() as serving, publishing(manager) as publisher, publishing(other) as standby:
        assert manager.post(envelope_of(report_of(1, status_of())), token).status_code == 200
        wait_for_one(managers, "debian")
        with frozen(server), contextlib.closing(http.client.HTTPConnection(manager.address, timeout=300)) as asked:
            body = message(report_of(2, status_of()))
            asked.request("POST", "/api/v1/reports", body, {"Authorization": f"Bearer {token}"})
            assert requests.get(f"{manager.url}/ping", timeout=300).status_code == 200, "what came before is under way"
            for process in (serving, publisher, standby):
                process.send_signal(signal.SIGTERM)
            assert [process.wait(2 * PATIENCE) for process in (publisher, standby, serving)] == [143] * 3
            assert asked.getresponse().status == 503


def test_two_managers_take_one_workers_reports_in_turn(address: DatabaseAddress, managers: list[Manager]) -> None:
    with Store("", address) as store:
        token = new_token(store)
    with managers[0].serving(), managers[1].serving(), concurrent.futures.ThreadPoolExecutor(8) as pool:
        for number in range(1, 41, 2):
            sent = [envelope_of(report_of(number + n, status_of(run=run_of(number + n)))) for n in (0, 1)]
            first = managers[0].post(sent[0], token).json()
            assert (first["acknowledged"], first["want"]) == (number, None)
            tries = [pool.submit(managers[n % 2].post, sent[1], token) for n in range(8)]
            assert {answer.result().json()["acknowledged"] for answer in tries} == {number + 1}
    with Store("", address) as store, store.reading() as reader:
        assert [past.run.id for past in reader.histories(["debian"])["debian"]] == list(range(40, 20, -1))


def test_managers_that_start_together_make_the_tables_once(address: DatabaseAddress) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for opened in pool.map(lambda _: Store("", address), range(8)):
            opened.close()
    with Database(Postgresql(address)) as database:
        assert list(check_store.problems(database)) == []


def new_token(store: Store, name: str = "w1") -> str:
    return kit.new_token(store, name, token_store.WORKER)
