"""Damaged JSON within a row is reported by the row's key, and everything else still works."""

import sqlite3
import time
from contextlib import closing

import pytest

from schemas.report import Probe, ReportedProblem, RunProgress
from sitegen.messages.commands import CommandRequest
from sitegen.messages.model import AuditEntry
from sitegen.messages.tunasync_rules import message
from sitegen.publish import SitePublisher
from sitegen.storage import command_store, past_runs, tunasync_store
from sitegen.storage.corruption import Damaged, checked
from tests.sitegen.kit import Manager, delivery_of, envelope_of, post_status, report_of, run_of, status_of
from tests.sitegen.store_cases import DECLARED

BY = AuditEntry(time.time(), "alice", "", "", "127.0.0.1", {})
AT = "2026-11-22T12:00:00Z"
BROKEN = ["", "{", "[[[", '{"at": "yesterday"}', '{"at": 1, "same": 3}', "[1]", "7", "[" * 100_000, "\\ud800"]
SOME = [pytest.param(text, marks=pytest.mark.release if number % 3 else ()) for number, text in enumerate(BROKEN)]
"""Those of which `make test` takes each third one."""


@pytest.fixture
def filled(manager: Manager) -> Manager:
    """Two workers with a mirror each, commands for one of them, and a job of tunasync."""
    probe = Probe(time.time(), same=True)
    with manager.store() as store:
        store.apply([delivery_of(report_of(1, status_of("a", probe=probe)))])
        store.apply([delivery_of(report_of(1, status_of("b", probe=probe)), worker="w2")])
        for _ in range(3):
            command_store.add(store, CommandRequest("start", ("a",), False, "w1"), {"w1": ("a",)}, BY)
        store.write(tunasync_store.register, "go", "http://127.0.0.1:1/", time.time_ns())
        for mirror in ("c", "d"):
            told = message(b'{"status": "success", "upstream": "rsync://up/", "size": "1G"}')
            post_status(store, "go", mirror, told, time.time_ns())
    return manager


def spoil(manager: Manager, table: str, column: str, where: str, text: str = "{") -> None:
    with closing(sqlite3.connect(manager.state / "manager.db")) as connection, connection:
        done = connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where}", [text])
        assert done.rowcount == 1


def check_names(manager: Manager, row: str, column: str) -> None:
    check_says(manager, f"{row}: `{column}` cannot be read")


def check_says(manager: Manager, words: str) -> None:
    checked = manager.run_here("check")
    assert checked.returncode == 1
    assert words in checked.stdout
    assert manager.run_here("check").stdout == checked.stdout, "nothing was changed"


@pytest.mark.parametrize("text", SOME[1:])
def test_a_damaged_probe_is_reported_for_its_mirror_only(filled: Manager, text: str) -> None:
    spoil(filled, "mirror_state", "probe", "mirror = 'a'", text)
    check_names(filled, "mirror_state w1/a", "probe")
    token = filled.token()
    with filled.answering():
        asked = filled.session.get(f"{filled.url}/api/v1/mirrors/a", timeout=300)
        assert (asked.status_code, asked.headers["Retry-After"]) == (503, "10")
        assert "mirror_state w1/a: `probe` cannot be read" in asked.json()["error"]
        assert filled.get("/api/v1/mirrors/b")["name"] == "b"
        assert [mirror["name"] for mirror in filled.get("/api/v1/mirrors")["mirrors"]] == ["a", "b", "c", "d"]
        assert [job["name"] for job in filled.get("/jobs")] == ["a", "b", "c", "d"]
        assert filled.session.get(f"{filled.url}/metrics", timeout=300).status_code == 200
        repaired = filled.post(envelope_of(report_of(2, status_of("a", probe=Probe(time.time())))), token)
        assert repaired.json()["acknowledged"] == 2
        assert filled.get("/api/v1/mirrors/a")["name"] == "a", "the next report repairs it"
    assert filled.run_here("check").returncode == 0


def test_the_site_is_published_without_damaged_rows_and_names_them(filled: Manager) -> None:
    spoil(filled, "mirror_state", "probe", "mirror = 'a'")
    spoil(filled, "workers", "progress", "name = 'w2'")
    with filled.store() as store:
        publisher = SitePublisher(store, str(filled.site))
        publisher.publish(time.time())
        store.apply([delivery_of(report_of(2, status_of("b", "failed")), worker="w2")])
        publisher.publish(time.time())
        assert {mirror["name"]: mirror["status"] for mirror in filled.status()["mirrors"]}["b"] == "failed"
        [problem] = filled.status()["problems"]
        assert "mirror_state w1/a: `probe` cannot be read" in problem, "and the worker's report has repaired its row"
        store.apply([delivery_of(report_of(2, kind="snapshot"))])
        publisher.publish(time.time())
        assert filled.status()["problems"] == [], "what is not there any more is not damaged"


def test_invalid_utf_8_is_reported_and_the_rest_is_read(filled: Manager) -> None:
    with closing(sqlite3.connect(filled.state / "manager.db")) as connection, connection:
        connection.execute("UPDATE mirror_state SET upstream = CAST(x'7273ff6e63' AS TEXT) WHERE mirror = 'a'")
        connection.execute("UPDATE workers SET version = CAST(x'30ff' AS TEXT) WHERE name = 'w2'")
    check_says(filled, "mirror_state w1/a: `upstream` is not valid UTF-8")
    check_says(filled, "workers w2: `version` is not valid UTF-8")
    with filled.store() as store:
        SitePublisher(store, str(filled.site)).publish(time.time())
    assert {mirror["name"]: mirror["upstream"] for mirror in filled.status()["mirrors"]}["a"] == "rs\ufffdnc"


@pytest.mark.parametrize("column", ["problems", "progress"])
@pytest.mark.parametrize("text", SOME)
def test_a_workers_damaged_column_is_left_out_and_reported(filled: Manager, column: str, text: str) -> None:
    spoil(filled, "workers", column, "name = 'w1'", text)
    check_names(filled, "workers w1", column)
    with filled.answering():
        assert [worker["name"] for worker in filled.get("/api/v1/workers")["workers"]] == ["go", "w1", "w2"]
        [problem] = filled.get("/api/v1/catalogue")["problems"]
        assert f"workers w1: `{column}` cannot be read" in problem


def test_a_damaged_configuration_is_reported(filled: Manager) -> None:
    with filled.store() as store:
        store.keep_catalogue(DECLARED, DECLARED.committed_at)
    for column in ("site", "workers", "mirrors", "problems"):
        with filled.store() as store:
            store.keep_catalogue(DECLARED, DECLARED.committed_at)
        spoil(filled, "catalogue", column, "id = 1")
        check_names(filled, "catalogue 1", column)
        token = filled.token()
        with filled.answering():
            asked = filled.session.get(f"{filled.url}/api/v1/mirrors", timeout=300)
            assert asked.status_code == 503
            assert f"catalogue 1: `{column}` cannot be read" in asked.json()["error"]
            assert filled.post(envelope_of(), token).status_code == 200, "reports are still accepted"
        with filled.store() as store, pytest.raises(Damaged, match=f"catalogue 1: `{column}`"):
            SitePublisher(store, str(filled.site)).publish(time.time())


@pytest.mark.parametrize("text", ["{", "3", "null"])
def test_a_damaged_command_does_not_affect_others(filled: Manager, text: str) -> None:
    spoil(filled, "commands", "mirrors", "number = 2", text)
    check_names(filled, "commands w1/2", "mirrors")
    worker, reader = ({"Authorization": f"Bearer {filled.token(*of)}"} for of in (("w1",), ("bob", "operator")))
    with filled.answering():
        found = filled.session.get(f"{filled.url}/api/v1/commands?worker=w1", headers=worker, timeout=300).json()
        assert [command["number"] for command in found["commands"]] == [1, 3]
        listed = filled.session.get(f"{filled.url}/api/v1/commands/w1", headers=reader, timeout=300).json()["commands"]
        assert [command["number"] for command in listed] == [3, 2, 1]
        assert "commands w1/2: `mirrors` cannot be read" in listed[1]["reason"]
        alone = filled.session.get(f"{filled.url}/api/v1/commands/w1/2", headers=reader, timeout=300)
        assert alone.status_code == 503
        assert "commands w1/2: `mirrors` cannot be read" in alone.json()["error"]
        assert filled.session.get(f"{filled.url}/api/v1/overrides", headers=reader, timeout=300).status_code == 200


@pytest.mark.parametrize("text", ["{", "[]", '{"told": {}, "run": 1}'])
def test_a_damaged_job_of_tunasync_starts_again_with_its_next_post(filled: Manager, text: str) -> None:
    spoil(filled, "tunasync_jobs", "document", "mirror = 'c'", text)
    check_names(filled, "tunasync_jobs go/c", "document")
    with filled.answering():
        assert [job["name"] for job in filled.get("/workers/go/jobs")] == ["d"]
        assert filled.session.get(f"{filled.url}/jobs", timeout=300).status_code == 200
    with filled.store() as store:
        with pytest.raises(Damaged, match="tunasync_jobs go/c: `document`"):
            store.write(tunasync_store.alter, "go", "c", {"size": "2G"}, time.time_ns())
        store.write(tunasync_store.schedule, "go", {"c": AT, "d": AT}, time.time_ns())
        post_status(store, "go", "c", message(b'{"status": "failed"}'), time.time_ns())
        assert [job["status"] for job in tunasync_store.jobs(store, "go")] == ["failed", "success"]


def test_a_damaged_line_of_the_audit_log_is_shown_as_it_is(filled: Manager) -> None:
    spoil(filled, "audit", "details", "details LIKE '%: 2,%'", '{"x')
    with closing(sqlite3.connect(filled.state / "manager.db")) as connection:
        [(line,)] = connection.execute("SELECT id FROM audit WHERE details = '{\"x'").fetchall()
    check_names(filled, f"audit {line}", "details")
    shown = filled.run_here("audit")
    assert (shown.returncode, shown.stdout.count("command start")) == (0, 3)
    assert 'unreadable="{\\"x"' in shown.stdout


def test_the_report_schema_allows_only_types_that_the_check_expects() -> None:
    for record in (
        Probe(1),
        Probe(1.5, 2, None, False, "x", 3, "file", 4),
        RunProgress("a", 1),
        RunProgress("a", 1, 5, 5.0, 1e6),  # type: ignore[arg-type] # the schema takes it, and other languages write so
        ReportedProblem(None, "", "", ""),
    ):
        assert checked(record) is record
    for wrong in (Probe("1"), RunProgress("a", True), RunProgress("a", 1, 5, 5.5), ReportedProblem(None, "", "", 1)):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="is "):
            checked(wrong)


def test_every_command_reports_damaged_names(filled: Manager) -> None:
    path = filled.state / "manager.db"
    data = path.read_bytes()
    at = data.index(b"CREATE TABLE ") + len(b"CREATE TABLE ")
    path.write_bytes(data[:at] + b"\xe8(" + data[at + 2 :])
    for words in (
        ["token", "list"],
        ["check"],
        ["audit"],
        ["publish", "--once"],
        ["backup", str(filled.folder / "copy")],
    ):
        done = filled.run_here(*words)
        assert (done.returncode, "bug" in done.stderr, str(path) in done.stderr) == (1, False, True), done.stderr


@pytest.mark.parametrize("name", ["schema_version", "changes"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE meta SET value = 'abc' WHERE name = ?", "in its table `meta` is 'abc', not a number"),
        ("DELETE FROM meta WHERE name = ?", "is missing"),
    ],
)
def test_a_damaged_number_in_the_table_meta_is_an_error_at_start(
    filled: Manager, name: str, change: str, words: str
) -> None:
    with closing(sqlite3.connect(filled.state / "manager.db")) as connection, connection:
        connection.execute(change, [name])
    for command in (("serve",), ("publish", "--once"), ("token", "list")):
        refused = filled.run_here(*command)
        assert refused.returncode == 1 and f"the database is damaged: `{name}` {words}." in refused.stderr
    assert filled.run_here("check").returncode == 1


def test_an_index_that_leads_to_another_mirrors_run_is_not_reported_as_a_bug(
    filled: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    with filled.store() as store:
        for worker, mirror in (("w1", "a"), ("w2", "b")):
            store.apply([delivery_of(report_of(2, status_of(mirror, run=run_of(1))), worker=worker)])
        monkeypatch.setattr(past_runs, "rows_of", lambda _asked, real=past_runs.rows_of: real(["a", "b"]))
        with store.reading() as reader:
            assert [past.worker for past in reader.histories(["a"])["a"]] == ["w1"]
