"""Real faults of a manager: a full disk, a database that cannot be written, a killed process."""

import contextlib
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from schemas.report import Report
from sitegen.messages.model import Note
from sitegen.storage.store import Store, StoreError
from tests.sitegen.kit import (
    NOW,
    Manager,
    delivery_of,
    end,
    envelope_of,
    message,
    new_token,
    plain,
    report_of,
    run_of,
    status_of,
    wait_for,
)

CLIENTS = 50
DEATHS = 4
SEED = 1
BEGAN = float(int(time.time()) - 86400)
"""When the workers' runs ended: before today, since a manager believes no time that has not come."""


def test_a_full_disk_is_reported_and_the_manager_recovers(manager: Manager) -> None:
    token = manager.token()
    with manager.serving() as process:
        assert manager.post(envelope_of(report_of(1, status_of())), token).status_code == 200
        size = (manager.state / "manager.db-wal").stat().st_size
        limit(process, size)
        runs = tuple(("debian", run_of(number, "failed", log_tail="x" * 16_000)) for number in range(2, 500))
        refused = manager.post(envelope_of(report_of(2, status_of(), runs=runs)), token)
        assert refused.status_code == 503
        assert "cannot use the manager's database: " in refused.json()["error"]
        assert refused.headers["Retry-After"] == "10"
        assert manager.get("/jobs")[0]["name"] == "debian", "reading goes on"
        limit(process, None)
        assert manager.post(envelope_of(report_of(2, status_of(), runs=runs)), token).json()["acknowledged"] == 2


def limit(process: "subprocess.Popen[str]", size: int | None) -> None:
    """Let a process write no file beyond this size: EFBIG where a full disk would be ENOSPC."""
    words = ["prlimit", "--pid", str(process.pid), f"--fsize={'unlimited' if size is None else size}:unlimited"]
    subprocess.run(words, check=True)


def test_a_database_that_another_process_locks_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sitegen.storage.dialects.LOCK_SECONDS", 0.2)
    with Store(str(tmp_path)) as store:
        other = sqlite3.connect(tmp_path / "manager.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="database is locked"):
            store.keep_unreachable("no", NOW)
        other.close()
        store.keep_unreachable("yes", NOW)
        assert store.facts().unreachable == Note("yes", NOW)


def test_acknowledged_reports_survive_kill_9_of_a_busy_manager(manager: Manager) -> None:
    random = Random(SEED)
    with manager.store() as store:
        tokens = {name: new_token(store, name, "worker") for name in (f"w{number}" for number in range(CLIENTS))}
    workers = [Reporter(manager.address, name, token) for name, token in tokens.items()]
    process = manager.popen("serve")
    publisher = manager.popen("publish")
    try:
        for worker in workers:
            worker.start()
        for _ in range(DEATHS):
            wait_for_more(workers, random.randrange(50, 500))
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            with manager.store() as store:
                told = store.facts().statuses
            for worker in workers:
                kept = told.get((worker.name, "debian"))
                if worker.acknowledged:
                    assert kept is not None and kept.run is not None
                    assert worker.acknowledged <= kept.run.id <= worker.sent
            process = manager.popen("serve")
        for worker in workers:
            worker.end()
        assert [worker.wrong for worker in workers] == [[]] * CLIENTS
        runs = "SELECT worker, count(*), max(id) FROM runs GROUP BY worker"
        with contextlib.closing(sqlite3.connect(manager.state / "manager.db")) as connection, connection:
            found = {name: (count, newest) for name, count, newest in connection.execute(runs)}
        connection.close()
        assert found == {worker.name: (worker.acknowledged, worker.acknowledged) for worker in workers}
        last = {worker.name: BEGAN + worker.acknowledged for worker in workers}
        wait_for(lambda: shown(manager) == last, "the site catches up")
        assert publisher.poll() is None, "with the publisher that was there from the beginning"
    finally:
        for worker in workers:
            worker.given_up.set()
        end(process)
        end(publisher)


def test_a_manager_at_the_limit_of_open_files_recovers(manager: Manager) -> None:
    token, worker = manager.token(), http.client.HTTPConnection(manager.address, timeout=300)

    def report(number: int) -> Any:
        worker.request("POST", "/api/v1/reports", message(report_of(number, status_of())), {"Authorization": bearer})
        return json.loads(worker.getresponse().read())

    def is_kept(number: int) -> bool:
        return bool(report(number).get("acknowledged") == number)

    bearer = f"Bearer {token}"
    with manager.serving() as process, contextlib.closing(worker):
        assert report(1)["acknowledged"] == 1
        open_now = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        let_open(process, open_now)
        for number in (2, 3):  # one is refused when the connections that are open are in use
            wait_for(partial(is_kept, number), "what is open is used again")
        let_open(process, 4100)
        assert manager.post(envelope_of(report_of(4, status_of())), token).json()["acknowledged"] == 4


def test_serve_raises_its_limit_of_open_files_or_warns(manager: Manager) -> None:
    manager.settings_file.write_text(json.dumps(json.loads(manager.settings_file.read_text()) | {"limits": LIMITS}))
    words = [sys.executable, "-m", "sitegen", "serve", "--settings", str(manager.settings_file)]
    for hard, said in ((5000, False), (600, True)):
        command = ["prlimit", f"--nofile=256:{hard}", *words]
        with subprocess.Popen(command, text=True, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            line = process.stderr.readline()
            limits = Path(f"/proc/{process.pid}/limits").read_text()
            [found] = [row.split()[3] for row in limits.splitlines() if row.startswith("Max open files")]
            process.terminate()
        assert int(found) == min(1100, hard)
        assert ("`limits.connections` needs 1100 open files, and the limit is 600" in line) is said


@pytest.mark.parametrize("files", [12, 16, 40])
def test_serve_refuses_a_limit_of_open_files_that_its_event_loop_cannot_start_with(
    manager: Manager, files: int
) -> None:
    words = [sys.executable, "-m", "sitegen", "serve", "--settings", str(manager.settings_file)]
    done = subprocess.run(
        ["prlimit", f"--nofile={files}:{files}", *words], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1
    assert f"serve needs at least 64 open files, and the limit is {files}. Too many files are open" in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1


LIMITS = {"connections": 1000}


def let_open(process: "subprocess.Popen[str]", count: int) -> None:
    subprocess.run(["prlimit", "--pid", str(process.pid), f"--nofile={count}:"], check=True)


def shown(manager: Manager) -> dict[str, float]:
    """Return the last success of each worker's copy, as the site shows it."""
    [mirror] = manager.status()["mirrors"]
    return {copy["worker"]: copy["last_success_at"] for copy in mirror["copies"]}


def wait_for_more(workers: list["Reporter"], count: int) -> None:
    """Wait until so many more reports were acknowledged."""
    goal = sum(worker.acknowledged for worker in workers) + count
    wait_for(lambda: sum(worker.acknowledged for worker in workers) >= goal, f"{count} more reports")


class Reporter(threading.Thread):
    """A worker that reports one run after the other, each until it is acknowledged; a run has its report's number.

    It calls without a library, so that dozens cost less than the manager that they try.
    """

    def __init__(self, address: str, name: str, token: str) -> None:
        super().__init__(daemon=True)
        self.name = name
        self.ending, self.given_up = threading.Event(), threading.Event()
        self.sent = self.acknowledged = 0
        self.wrong: list[str] = []
        self._connection = http.client.HTTPConnection(address, timeout=300)
        self._headers = {"Authorization": f"Bearer {token}"}

    def run(self) -> None:
        while not self.given_up.is_set():
            if self.ending.is_set() and self.acknowledged == self.sent:
                break
            self.sent = self.acknowledged + 1
            at = BEGAN + self.sent
            report = report_of(self.sent, status_of(at=at, run=run_of(self.sent, ended_at=at)))
            answer = self._post(report)
            if answer is None:
                continue
            if answer["acknowledged"] != self.sent or answer["want"]:
                self.wrong.append(f"{self.sent}: {answer}")
                return
            self.acknowledged = self.sent
        self._connection.close()

    def end(self) -> None:
        self.ending.set()
        self.join()

    def _post(self, report: Report) -> Any:
        body = json.dumps(plain(envelope_of(report, worker=self.name)))
        try:
            self._connection.request("POST", "/api/v1/reports", body, self._headers)
            answer = self._connection.getresponse()
            told = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self.ending.wait(0.02)
            return None
        return json.loads(told) if answer.status == 200 else None


def test_a_damaged_database_is_reported_found_by_check_and_replaced(manager: Manager) -> None:
    token, copy = manager.token(), manager.folder / "copy.db"
    runs = tuple(("debian", run_of(number, "failed", log_tail="x" * 4_000)) for number in range(2, 400))
    with manager.store() as store:
        store.apply([delivery_of(report_of(1, status_of(), runs=runs))])
    assert manager.command("backup", str(copy)).returncode == 0
    path = manager.state / "manager.db"
    with manager.serving() as process:
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.seek(8192)
            file.write(Random(SEED).randbytes(len(content) - 16384))
        refused = manager.post(envelope_of(report_of(2, status_of())), token)
        assert refused.status_code == 503
        assert "cannot use the manager's database" in refused.json()["error"]
        for address in ("/api/v1/runs?limit=500", "/api/v1/mirrors/debian"):
            asked = manager.session.get(f"{manager.url}{address}", timeout=300)
            assert (asked.status_code, asked.json()) == (503, {"error": "cannot use the manager's database"})
        assert process.stderr is not None
        told = next(line for line in process.stderr if "malformed" in line)
        assert "move it away with every `manager.db-*` and restore a backup" in told
        checked = manager.command("check")
        assert checked.returncode == 1
        assert "malformed" in checked.stderr or "file: " in checked.stdout
    for end_of_name in ("", "-wal", "-shm"):
        path.with_name(path.name + end_of_name).unlink(missing_ok=True)
    copy.rename(path)
    with manager.serving():
        assert manager.post(envelope_of(report_of(2, status_of())), token).json()["acknowledged"] == 2
    assert manager.command("check").returncode == 0
