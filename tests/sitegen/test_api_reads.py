"""The reading routes of the API."""

import concurrent.futures
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.records import Mirror, Site, Worker
from sitegen.messages.model import DeclaredConfig
from tests.sitegen.kit import NOW, PATIENCE, REVISION, Manager, envelope_of, report_of, run_of, status_of


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Manager, str]]:
    manager = Manager(tmp_path_factory.mktemp("reads"))
    token = manager.token()
    runs = tuple(("debian", run_of(number, ended_at=NOW + number // 2)) for number in range(1, 8))
    with manager.answering():
        manager.post(envelope_of(report_of(1, status_of("debian"), kind="snapshot", runs=runs)), token)
        manager.post(envelope_of(report_of(2, status_of("arch", run=run_of(9, "failed", reason="no route")))), token)
        yield manager, token
    manager.session.close()


def test_mirrors_and_one_mirror_with_its_runs(told: tuple[Manager, str]) -> None:
    found = told[0].get("/api/v1/mirrors")
    assert [mirror["name"] for mirror in found["mirrors"]] == ["arch", "debian"]
    alone = told[0].get("/api/v1/mirrors/debian")
    assert [run["id"] for run in alone["runs"]] == [7, 6, 5, 4, 3, 2, 1]
    answer = told[0].session.get(f"{told[0].url}/api/v1/mirrors/nosuch")
    assert (answer.status_code, answer.json()) == (404, {"error": "unknown mirror nosuch"})


def test_the_history_comes_in_pages_without_gap_or_repeat(told: tuple[Manager, str]) -> None:
    seen: list[tuple[str, int]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = told[0].get(f"/api/v1/runs?limit=3&cursor={cursor}")
        assert len(page["runs"]) <= 3
        seen += [(run["mirror"], run["id"]) for run in page["runs"]]
        cursor = page["cursor"]
    assert sorted(seen) == [("arch", 9), *(("debian", number) for number in range(1, 8))]
    only = told[0].get("/api/v1/runs?mirror=arch&worker=w1")["runs"]
    assert [(run["worker"], run["reason"]) for run in only] == [("w1", "no route")]
    assert told[0].get("/api/v1/runs?worker=w2") == {"runs": [], "cursor": None}


@pytest.mark.parametrize("query", ["cursor=x", "cursor=WzFd", "limit=-1", "limit=a", "mirror=../x", "cursor=%C3%A9"])
def test_an_invalid_query_is_rejected(told: tuple[Manager, str], query: str) -> None:
    answer = told[0].session.get(f"{told[0].url}/api/v1/runs?{query}")
    assert answer.status_code == 400, answer.text
    assert query.partition("=")[0] in answer.json()["error"]


def test_workers_and_the_catalogue(told: tuple[Manager, str]) -> None:
    (worker,) = told[0].get("/api/v1/workers")["workers"]
    assert (worker["name"], worker["kind"], worker["slots_total"]) == ("w1", "skipjack", 4)
    found = told[0].get("/api/v1/catalogue")
    assert (found["revision"], found["mirrors"]) == (None, [])


def test_events_wait_for_a_change_and_list_it(told: tuple[Manager, str]) -> None:
    manager, token = told

    def events(after: int, wait: int = 0) -> Any:
        return manager.get(f"/api/v1/events?after={after}&wait={wait}")

    first = events(0)
    assert set(first["mirrors"]) == {"arch", "debian"}
    newest = first["changes"]
    assert events(newest) == {"changes": newest, "reset": False, "mirrors": []}
    assert events(newest + 99)["reset"], "these numbers are of another database"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        held = pool.submit(events, newest, 50)
        manager.post(envelope_of(report_of(3, status_of("arch"))), token)
        assert held.result(PATIENCE) == {"changes": newest + 1, "reset": False, "mirrors": ["arch"]}


def test_protected_reads_require_a_token_of_any_scope(manager: Manager) -> None:
    guarded = Manager(manager.folder, protected_reads=["api", "tunasync"])
    tokens = [guarded.token("x", scope) for scope in ("worker", "operator", "read")]
    with guarded.answering():
        for path in ("/api/v1/mirrors", "/api/v1/runs", "/api/v1/events", "/jobs", "/workers"):
            assert guarded.session.get(guarded.url + path).status_code == 401
            for token in tokens:
                headers = {"Authorization": f"Bearer {token}"}
                assert guarded.session.get(guarded.url + path, headers=headers).status_code == 200
        assert guarded.get("/ping") == {"message": "pong"}
    guarded.session.close()


def test_previous_names_lead_to_the_mirror_and_its_whole_history(manager: Manager) -> None:
    declared = DeclaredConfig(
        REVISION, NOW, Site("Mirrors"), {"w1": Worker("w1"), "w2": Worker("w2")},
        (Mirror("new", "w2", "rsync", "rsync://up/", formerly=("old",)), Mirror("arch", "w1", "rsync", "rsync://up/")),
        (),
    )  # fmt: skip
    with manager.store() as store:
        store.keep_catalogue(declared, NOW)
    token, other = manager.token("w1"), manager.token("w2")
    reader = {"Authorization": f"Bearer {manager.token('ops', 'reader')}"}
    with manager.answering():
        manager.post(envelope_of(report_of(1, status_of("old", run=run_of(5, ended_at=NOW)))), token)
        manager.post(
            envelope_of(report_of(1, status_of("old", "disabled", run=run_of(6, ended_at=NOW + 9))), worker="w2"), other
        )

        for name in ("new", "old"):
            alone = manager.get(f"/api/v1/mirrors/{name}")
            assert (alone["name"], alone["formerly"], alone["status"]) == ("new", ["old"], "disabled")
            assert [(run["worker"], run["id"]) for run in alone["runs"]] == [("w2", 6), ("w1", 5)]
            runs = manager.get(f"/api/v1/runs?mirror={name}")["runs"]
            assert [(run["worker"], run["mirror"], run["id"]) for run in runs] == [("w2", "new", 6), ("w1", "new", 5)]
        assert [job["name"] for job in manager.get("/jobs")] == ["arch", "new"]
        assert manager.get("/api/v1/events?after=1")["mirrors"] == ["new"]
        held = manager.session.get(f"{manager.url}/api/v1/overrides", headers=reader).json()["overrides"]
        assert [(item["worker"], item["mirror"], item["kind"]) for item in held] == [("w2", "new", "disabled")]


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None), ("gzip; q=0.00", None), ("identity", None)],
)
def test_lists_are_compressed_for_clients_that_accept_gzip(
    told: tuple[Manager, str], accepted: str, encoding: str | None
) -> None:
    for path in ("/api/v1/mirrors", "/jobs"):
        answer = told[0].session.get(f"{told[0].url}{path}", headers={"Accept-Encoding": accepted}, timeout=300)
        assert answer.headers.get("Content-Encoding") == encoding
        assert answer.headers["Vary"] == "Accept-Encoding"
        found = answer.json()
        names = [mirror["name"] for mirror in (found if path == "/jobs" else found["mirrors"])]
        assert names == ["arch", "debian"]
