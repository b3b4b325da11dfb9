"""Backups of a running manager, their restore, and the problems that `check` finds."""

import sqlite3
import threading
from pathlib import Path
from typing import Any, NoReturn

import pytest

from sitegen.storage import readonly_sqlite
from tests.sitegen.kit import Manager, delivery_of, envelope_of, report_of, status_of
from tests.sitegen.store_cases import DECLARED


def test_a_backup_is_made_during_reports_and_workers_send_the_rest_after_a_restore(manager: Manager) -> None:
    token, target = manager.token(), manager.folder / "backup.db"
    with manager.serving():
        for number in range(1, 50):
            assert manager.post(envelope_of(report_of(number, status_of(f"m{number}"))), token).status_code == 200
        with reporting(manager, token, first=50) as sent:
            made = manager.command("backup", str(target))
        assert made.returncode == 0, made.stderr
        newest = sent[-1]
        assert manager.post(envelope_of(report_of(newest + 1, status_of())), token).json()["acknowledged"] == newest + 1
    assert (target.stat().st_mode & 0o777, [path.name for path in manager.folder.glob(".*")]) == (0o600, [])
    for file in manager.state.glob("manager.db*"):
        file.unlink()
    target.rename(manager.state / "manager.db")
    with manager.serving():
        answer = manager.post(envelope_of(report_of(newest + 2, status_of("last", "failed"))), token).json()
        assert 49 <= answer["acknowledged"] <= newest
        assert answer["want"] == "snapshot"
        whole = report_of(newest + 3, status_of(), status_of("last", "failed"), kind="snapshot")
        assert manager.post(envelope_of(whole), token).json()["acknowledged"] == newest + 3
        assert [job["name"] for job in manager.get("/jobs")] == ["debian", "last"]
    assert manager.command("check").returncode == 0


class reporting:  # noqa: N801 - it is used like a function
    """Send one report after the other until the end of the block; gives the numbers that were acknowledged."""

    def __init__(self, manager: Manager, token: str, first: int) -> None:
        self._manager, self._token, self._first = manager, token, first
        self._sent: list[int] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._report)

    def __enter__(self) -> list[int]:
        self._thread.start()
        return self._sent

    def __exit__(self, *_error: object) -> None:
        self._ending.set()
        self._thread.join()
        assert self._sent

    def _report(self) -> None:
        number = self._first
        while not self._ending.is_set() or not self._sent:
            answer = self._manager.post(envelope_of(report_of(number, status_of(f"m{number}"))), self._token)
            assert answer.json()["acknowledged"] == number
            self._sent.append(number)
            number += 1


def test_a_failed_backup_leaves_the_previous_one(manager: Manager) -> None:
    manager.store().close()
    target = manager.folder / "backup.db"
    target.write_bytes(b"the last one")
    with (manager.state / "manager.db").open("r+b") as file:
        file.write(b"damaged")
    failed = manager.run_here("backup", str(target))
    assert failed.returncode == 1
    assert "backup.db`: file is not a database" in failed.stderr
    assert target.read_bytes() == b"the last one"
    assert list(manager.folder.glob(".*")) == []


@pytest.mark.parametrize("name", ["state/manager.db", "linked/manager.db-wal", "state", ".", "/"])
def test_a_backup_cannot_replace_the_database_or_a_folder(manager: Manager, name: str) -> None:
    manager.store().close()
    (manager.folder / "linked").symlink_to(manager.state)
    before = [(path.name, path.stat().st_ino) for path in sorted(manager.state.iterdir())]
    refused = manager.run_here("backup", name if name in ".." else str(manager.folder / name))
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused.stderr
    assert "is a folder" in refused.stderr or "belongs to the database" in refused.stderr
    assert [(path.name, path.stat().st_ino) for path in sorted(manager.state.iterdir())] == before


def test_backup_and_check_fail_before_the_first_start(manager: Manager) -> None:
    for words in (["backup", str(manager.folder / "backup.db")], ["check"]):
        assert "unable to open database file" in manager.run_here(*words).stderr
    assert not manager.state.exists()


def test_backup_names_pg_dump_for_postgresql(tmp_path: Path) -> None:
    manager = Manager(tmp_path, database={"url": "postgresql://host/skipjack"})
    refused = manager.run_here("backup", "file")
    assert refused.returncode == 1
    assert "pg_dump --format=custom --file=file --dbname='postgresql://host/skipjack'" in refused.stderr


@pytest.fixture
def filled(manager: Manager) -> Manager:
    with manager.store() as store:
        store.keep_catalogue(DECLARED, DECLARED.committed_at)
        store.apply([delivery_of(report_of(1, status_of("a"), status_of("b", "failed")))])
        store.apply([delivery_of(worker="quiet")])
    return manager


def test_a_valid_database_passes_the_check_unchanged(filled: Manager) -> None:
    before = (filled.state / "manager.db").read_bytes()
    checked = filled.run_here("check")
    assert (checked.returncode, checked.stdout) == (0, ""), checked.stdout
    assert "has no problems" in checked.stderr
    assert (filled.state / "manager.db").read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE runs SET status = 'sleeping'", "runs w1/0123456789abcdef0123456789abcdef/1: its status is unknown"),
        ("UPDATE runs SET journal = 'x'", "runs w1/x/1: its journal has no acknowledged reports"),
        ("DELETE FROM runs", "mirror_state w1/a: its last run is missing"),
        ("DELETE FROM workers", "mirror_state w1/a: its worker is missing"),
        ("DELETE FROM journals WHERE worker = 'quiet'", "workers quiet: its journal is unknown"),
        ("UPDATE journals SET acknowledged = -1", "journals w1/0123456789abcdef0123456789abcdef: the acknowledged"),
        (
            "UPDATE mirror_state SET changed = 99 WHERE mirror = 'b'",
            "mirror_state w1/b: `changed` is higher than",
        ),
        ("UPDATE catalogue SET mirrors = '[{}'", "catalogue 1: `mirrors` cannot be read: JSONDecodeError"),
        ("UPDATE workers SET problems = '[{\"x\": 1}]'", "workers w1: `problems` cannot be read: TypeError"),
        ("UPDATE meta SET value = 1 WHERE name = 'schema_version'", "meta schema_version: it is 1, but"),
        ("DELETE FROM meta WHERE name = 'changes'", "meta changes: the row is missing"),
        ("DROP TABLE audit", "audit: the table is missing"),
        ("ALTER TABLE runs DROP COLUMN size", "runs: the column size is missing"),
        ("DROP TABLE meta", "meta: the table is missing"),
        (
            "INSERT INTO commands VALUES ('w1', 3, 'start', '[]', 0, 1.0, 'me', 'queued', '', NULL, NULL, '')",
            "commands w1/3: its number was never issued",
        ),
    ],
)
def test_a_broken_invariant_is_found_and_not_repaired(filled: Manager, statement: str, problem: str) -> None:
    execute(filled, statement)
    checked = filled.run_here("check")
    assert checked.returncode == 1
    assert problem in checked.stdout
    assert "problem" in checked.stderr
    assert filled.run_here("check").stdout == checked.stdout


def test_a_damaged_page_is_found(filled: Manager) -> None:
    execute(filled, "PRAGMA journal_mode=DELETE")
    path = filled.state / "manager.db"
    content = bytearray(path.read_bytes())
    place = content.index(b"rsync://up.example.org/a/") - 60
    content[place : place + 40] = b"\xff" * 40
    path.write_bytes(content)
    checked = filled.run_here("check")
    assert checked.returncode == 1, checked.stdout
    assert "file: " in checked.stdout or "malformed" in checked.stderr


def test_sqlite_reports_a_folder_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(_path: Path) -> NoReturn:
        raise PermissionError

    monkeypatch.setattr(Path, "exists", closed)
    file = tmp_path / "manager.db"
    with readonly_sqlite.readable(file) as address:
        assert address == f"{file.as_uri()}?mode=ro"


def execute(manager: Manager, statement: str) -> list[Any]:
    connection = sqlite3.connect(manager.state / "manager.db")
    with connection:
        found = connection.execute(statement).fetchall()
    connection.close()
    return found
