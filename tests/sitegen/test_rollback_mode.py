"""The manager's file when it is not in WAL mode, as after another program has changed it or a backup was put back."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sitegen.storage import dialects, readonly_sqlite
from sitegen.storage.database import Database
from tests.killed_writer import die_in_a_transaction


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "manager.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("CREATE TABLE t (a TEXT, b BLOB)")
        connection.executemany("INSERT INTO t VALUES ('old', zeroblob(?))", [(2000,)] * 300)
    return file


@pytest.mark.parametrize("is_read_only", [True, False])
def test_a_transaction_in_which_a_process_died_is_not_read(
    file: Path, monkeypatch: pytest.MonkeyPatch, *, is_read_only: bool
) -> None:
    left = die_in_a_transaction(file, "UPDATE t SET a = 'changed'")
    before = file.read_bytes(), left.read_bytes()
    monkeypatch.setattr(readonly_sqlite, "_is_read_only", lambda folder: is_read_only and folder == file.parent)

    with readonly_sqlite.readable(file) as address, closing(sqlite3.connect(address, uri=True)) as connection:
        assert connection.execute("SELECT a, count(*) FROM t GROUP BY a").fetchall() == [("old", 300)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    if is_read_only:
        assert (file.read_bytes(), left.read_bytes()) == before
    else:
        assert not left.exists()


def test_who_cannot_change_the_mode_at_once_goes_on_and_the_next_one_does(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialects, "LOCK_SECONDS", 0)
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM t").fetchone()
        assert mode_when_opened(file) == "delete"
    assert mode_when_opened(file) == "wal"


def mode_when_opened(file: Path) -> str:
    with Database(dialects.Sqlite(file)) as database, database.reading() as tx:
        return str(tx.exec_driver_sql("PRAGMA journal_mode").scalar())
