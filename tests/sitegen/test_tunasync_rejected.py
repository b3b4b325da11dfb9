"""Invalid names of Go workers' jobs are shown until the worker no longer has them."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sitegen.messages.model import AuditEntry
from sitegen.publish import SitePublisher
from sitegen.storage import tunasync_rejected, tunasync_store
from sitegen.storage.store import Store
from tests.sitegen.go_worker import Go, serving
from tests.sitegen.kit import NOW, delivery_of, report_of, status_of

AT = int(NOW) * 10**9
NAMES = ["plus+x", "a b", "\u4e2d\u6587", "c:d"]


@pytest.fixture
def go(tmp_path: Path) -> Iterator[Go]:
    with serving(tmp_path) as made:
        made.register()
        yield made


def post(go: Go, name: str, status: str = "success") -> tuple[int, Any]:
    return go.send("POST", f"/workers/w1/jobs/{quote(name)}", {"name": name, "worker": "w1", "status": status})


def tell(go: Go, *names: str) -> None:
    schedules = [{"name": name, "next_schedule": "2026-11-22T14:30:05Z"} for name in names]
    assert go.send("POST", "/workers/w1/schedules", {"schedules": schedules}) == (200, {})


def shown(go: Go) -> list[str]:
    (worker,) = go.manager.get("/api/v1/workers")["workers"]
    return [problem["what"].split("`")[1] for problem in worker["problems"]]


def test_rejected_names_are_among_the_workers_problems_and_once_in_the_log(
    go: Go, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for status in ("pre-syncing", "syncing", "success"):
        for name in NAMES:
            code, answer = post(go, name, status)
            assert (code, answer["error"]) == (400, f"{name!r} is not a valid name here")
    assert shown(go) == sorted(NAMES)
    go.status("success")
    assert shown(go) == sorted(NAMES), "what the worker delivers does not remove them"
    (worker,) = go.manager.get("/api/v1/workers")["workers"]
    assert worker["problems"][0] == {
        "mirror": None,
        "place": "mirrors",
        "what": "The mirror `a b` is ignored: its name is not valid here.",
        "todo": "Rename it in the worker's configuration: a letter or digit, then letters, digits, `.`, `_` and `-`, "
        "64 at most.",
    }
    logged = [record.getMessage() for record in caplog.records if "is ignored: its name" in record.getMessage()]
    assert sorted(line.split("`")[1] for line in logged) == sorted(NAMES)
    assert all(line.startswith("worker w1 of tunasync: ") for line in logged)
    assert [job["name"] for job in go.jobs()] == ["debian"]


def test_rejected_names_are_shown_until_a_schedule_no_longer_lists_them(go: Go) -> None:
    tell(go, "a b", "c:d", "debian")
    assert shown(go) == ["a b", "c:d"]
    post(go, "a b", "syncing")
    post(go, "plus+x", "paused")
    tell(go, "debian")
    assert shown(go) == ["a b", "plus+x"], "no schedule lists what is under way or held"
    post(go, "a b", "failed")
    tell(go, "a b")
    assert shown(go) == ["a b", "plus+x"]
    tell(go)
    assert shown(go) == ["plus+x"]
    go.register()
    assert shown(go) == []


def test_a_worker_that_becomes_a_skipjack_worker_or_is_deleted_has_no_rejected_names(go: Go) -> None:
    post(go, "a b")
    go.send("DELETE", "/workers/w1")
    go.register()
    assert shown(go) == []
    post(go, "a b")
    with go.manager.store() as store:
        store.apply([delivery_of(report_of(1, status_of("debian")))])
        go.send("DELETE", "/workers/w1")
    go.register()
    assert shown(go) == []


def test_an_unknown_or_skipjack_worker_gets_no_rejected_names(go: Go) -> None:
    with go.manager.store() as store:
        store.apply([delivery_of(report_of(1, status_of("debian")), worker="ours")])
        for worker in ("ours", "nobody"):
            assert not tunasync_rejected.add(store, worker, "a b", "success")
            assert go.send("POST", f"/workers/{worker}/jobs/a%20b", {"name": "a b", "status": "success"})[0] == 400
        assert [worker.problems for worker in store.facts().workers] == [(), ()]


def test_an_invalid_worker_name_is_logged(go: Go, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    assert go.send("POST", "/workers", {"id": "w\n1", "url": "http://x/"})[0] == 400
    assert "rejected a tunasync worker's registration from 127.0.0.1: 'w\\n1' is not a valid name" in caplog.text


def test_rejected_names_are_bounded_in_number_and_length(tmp_path: Path) -> None:
    with Store(str(tmp_path)) as store:
        store.write(tunasync_store.register, "w1", "http://localhost:6000/", AT)
        for number in range(tunasync_rejected.MOST + 50):
            tunasync_rejected.add(store, "w1", f"{number:03} " + "x" * 5000, "success")
        (worker,) = store.facts().workers
        assert len(worker.problems) == tunasync_rejected.MOST
        assert {len(problem.what.split("`")[1]) for problem in worker.problems} == {tunasync_rejected.LONGEST}
        changes = store.changes()
        assert not tunasync_rejected.add(store, "w1", "one more", "success")
        assert not tunasync_rejected.add(store, "w1", "000 " + "x" * 5000, "failed")
        assert store.changes() == changes, "no page changes"


def test_pages_and_files_show_rejected_names_escaped(tmp_path: Path) -> None:
    with Store(str(tmp_path / "state")) as store:
        store.write(tunasync_store.register, "w1", "http://localhost:6000/", AT)
        for name in ("<script>x</script>", "\x1b[31mred", "\ud800 half"):
            tunasync_rejected.add(store, "w1", name, "success")
        SitePublisher(store, str(tmp_path / "site")).publish(NOW)
        store.write(tunasync_store.forget, "w1", AuditEntry(NOW, "tunasync", "", "", "tests", {}))
    page = (tmp_path / "site" / "workers.html").read_text()
    assert "&lt;script&gt;x&lt;/script&gt;" in page
    assert "<script>x" not in page
    status = json.loads((tmp_path / "site" / "status.json").read_text())
    found = [problem["what"].split("`")[1] for problem in status["workers"][0]["problems"]]
    assert found == ["<script>x</script>", "\\ud800 half", "\\x1b[31mred"]
