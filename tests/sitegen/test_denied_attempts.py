"""Denied attempts to control are in the audit, with a limited number of lines."""

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from schemas.records import ManagerSettings
from sitegen.messages.model import AuditEntry
from sitegen.retention import Retention
from sitegen.storage import audit_store
from sitegen.storage.store import Store
from sitegen.web.denied_audit import MOST_LINES, OTHERS, PARTING, AttemptKind, DeniedAttempts
from tests.sitegen.kit import NOW, PATIENCE, Manager

KIND = AttemptKind("-", "refused POST /cmd", "192.0.2.7", "no token")
STEERING = {"kind": "start", "mirrors": ["debian"]}


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


def kept(store: Store) -> list[AuditEntry]:
    return audit_store.read(store)


def audited(manager: Manager) -> list[dict[str, Any]]:
    """Return what the command shows of denied attempts."""
    lines = map(json.loads, manager.run_here("audit", "--json").stdout.splitlines())
    return [line for line in lines if line["action"].startswith("refused")]


def test_attempts_of_one_kind_are_one_line_with_their_number(store: Store) -> None:
    clock = Clock()
    denied = DeniedAttempts(store, clock)
    for second in range(50):
        clock.now = NOW + second
        denied.count(KIND, f"w{second}")
    denied.count(KIND._replace(origin="192.0.2.8"), "")
    denied.write()
    denied.write()
    details = {"attempts": 50, "last_at": NOW + 49, "why": "no token"}
    first, second_one = kept(store)
    assert first == AuditEntry(NOW, "-", "refused POST /cmd", "w0", "192.0.2.7", details)
    assert (second_one.origin, second_one.details["attempts"]) == ("192.0.2.8", 1)


def test_the_lines_of_a_minute_are_limited(store: Store) -> None:
    denied = DeniedAttempts(store, Clock())
    for number in range(100_000):
        denied.count(KIND._replace(origin=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"), "w1")
    before = store.commits
    denied.write()
    assert store.commits == before + 1
    lines = kept(store)
    assert len(lines) == MOST_LINES + 1
    assert sum(line.details["attempts"] for line in lines) == 100_000
    (others,) = [line for line in lines if line.origin == OTHERS]
    assert (others.subject, others.details["attempts"]) == ("", 100_000 - MOST_LINES)


def test_the_audit_keeps_a_limited_number_of_denied_attempts_and_all_actions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_store, "STEP", 3)
    monkeypatch.setattr(audit_store, "MOST_REFUSED", 5)
    with store.transaction(writing=True) as tx:
        for second in range(20):
            action = "command start" if second % 2 else "refused POST /cmd"
            audit_store.write(tx, AuditEntry(NOW + second, "x", action, "", "", {}))
    Retention(store, ManagerSettings()).clean_up(NOW + 60)
    found = [(line.at - NOW, line.action) for line in kept(store)]
    assert [at for at, action in found if action == "refused POST /cmd"] == [10, 12, 14, 16, 18]
    assert [at for at, action in found if action == "command start"] == list(range(1, 20, 2))


def test_attempts_that_could_not_be_written_are_written_later(store: Store) -> None:
    clock = Clock()
    denied = DeniedAttempts(store, clock)
    denied.count(KIND, "w1")
    with store.transaction(writing=True) as tx:
        tx.exec_driver_sql("ALTER TABLE audit RENAME TO away")
    denied.write()
    clock.now = NOW + 5
    denied.count(KIND, "w2")
    with store.transaction(writing=True) as tx:
        tx.exec_driver_sql("ALTER TABLE away RENAME TO audit")
    denied.write()
    (line,) = kept(store)
    assert (line.at, line.subject, line.details["attempts"], line.details["last_at"]) == (NOW, "w1", 2, NOW + 5)


def test_a_denied_attempt_shows_who_tried_what_from_where_without_secrets(manager: Manager) -> None:
    tokens = {"w1": manager.token("w1"), "rob": manager.token("rob", "read")}
    shown = {**tokens, "guess": "a-secret-of-somebody-else", "": ""}
    url = f"{manager.url}/api/v1/commands"
    with manager.answering():
        for token in (*shown.values(), ""):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            assert requests.post(url, json=STEERING, headers=headers, timeout=300).status_code in (401, 403)
        assert requests.get(f"{manager.url}/api/v1/overrides", timeout=300).status_code == 401, "reads are not counted"
    found = audited(manager)
    assert {(line["who"], line["details"]["why"], line["details"]["attempts"]) for line in found} == {
        ("w1", "the token has scope worker: this requires scope operator", 1),
        ("rob", "the token has scope read: this requires scope operator", 1),
        ("-", "no valid token", 1),
        ("-", "no token", 2),
    }
    assert {(line["action"], line["origin"]) for line in found} == {("refused POST /api/v1/commands", "127.0.0.1")}
    said = manager.run_here("audit").stdout
    assert 'rob from 127.0.0.1: refused POST /api/v1/commands  attempts=1 last_at="20' in said
    with closing(sqlite3.connect(manager.state / "manager.db")) as database, database:
        everything = str(database.execute("SELECT * FROM audit").fetchall())
    assert not [secret for secret in shown.values() if secret and secret in said + everything]


def test_a_denied_attempt_on_tunasyncs_routes_has_the_address_and_escaped_names(tmp_path: Path) -> None:
    manager = Manager(tmp_path, tunasync={"writes_from": ["192.0.2.0/24"]})
    with manager.answering():
        for path in ("/workers/w1", "/workers/w2", "/workers/%1b%5b2J%0a" + "x" * 500):
            assert requests.delete(f"{manager.url}{path}", timeout=300).status_code == 403
        assert requests.post(f"{manager.url}/cmd", data="no JSON", timeout=300).status_code == 403
    why = "writing is denied: 127.0.0.1 is not in `tunasync.writes_from`"
    assert sorted((line["action"], line["subject"], line["details"]["attempts"]) for line in audited(manager)) == [
        ("refused DELETE /workers/{worker}", "w1", 3),
        ("refused POST /cmd", "", 1),
    ]
    assert {(line["who"], line["details"]["why"]) for line in audited(manager)} == {("tunasync", why)}
    with manager.answering():
        requests.delete(f"{manager.url}/workers/%1b%5b2J%0a{'x' * 500}", timeout=300)
    newest = audited(manager)[-1]
    assert newest["subject"] == "\\u001b[2J\\n" + "x" * 95
    assert "\x1b" not in manager.run_here("audit").stdout


def test_a_hanging_database_does_not_block_the_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    free, asked = threading.Event(), threading.Event()

    def hangs(*_words: object) -> None:
        asked.set()
        assert free.wait(PATIENCE)

    monkeypatch.setattr("sitegen.web.denied_audit.PARTING", 0.05)
    monkeypatch.setattr(audit_store, "write", hangs)
    denied = DeniedAttempts(store)
    with denied:
        denied.count(KIND, "")
    try:
        assert asked.wait(PARTING + 10)
        assert denied._thread.is_alive()
    finally:
        free.set()
        denied._thread.join(PATIENCE)
