"""Journals that are not in WAL mode, as backups that were put back, and transactions in which a process died there."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from runner.journal import journal, readonly_copy, sqlite_file
from runner.journal.damage import examine
from schemas import sqlite_database
from schemas.errors import SkipjackError
from tests.killed_writer import die_in_a_transaction

MIRRORS = 300

CHANGE = "UPDATE mirror SET status = 'failed', upstream = hex(zeroblob(2000))"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A journal that was put back from a backup made with VACUUM INTO, and has not been opened since."""
    path = str(tmp_path / "journal.db")
    with sqlite_file.opened(path) as connection:
        rows = [(f"m{number}", "x", 1, "none") for number in range(MIRRORS)]
        connection.executemany("INSERT INTO mirror (name, upstream, is_master, status) VALUES (?, ?, ?, ?)", rows)
        connection.execute("VACUUM INTO ?", (f"{path}.bak",))
    Path(f"{path}.bak").replace(path)
    assert mode(path) == "delete"
    return path


def mode(path: str) -> str:
    """What the file itself says."""
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def test_the_first_program_that_opens_a_restored_backup_switches_it_to_wal_mode(path: str) -> None:
    with sqlite_file.opened(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        connection.execute("UPDATE mirror SET status = 'success'")
        assert Path(f"{path}-wal").stat().st_size > 0
    assert mode(path) == "wal"


def test_opening_a_journal_in_wal_mode_writes_nothing(path: str) -> None:
    with sqlite_file.opened(path):
        pass
    before = Path(path).stat().st_mtime_ns, Path(path).read_bytes()
    with sqlite_file.opened(path) as connection:
        assert connection.execute("SELECT count(*) FROM mirror").fetchone()[0] == MIRRORS
        assert Path(f"{path}-wal").stat().st_size == 0
    assert (Path(path).stat().st_mtime_ns, Path(path).read_bytes()) == before


def test_who_cannot_change_the_mode_goes_on_without_and_the_next_one_does(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_database, "PATIENCE", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM mirror").fetchone()
        with sqlite_file.opened(path) as connection:
            assert connection.execute("SELECT count(*) FROM mirror").fetchone()[0] == MIRRORS
    assert mode(path) == "delete"
    with journal.opened(path):
        pass
    assert mode(path) == "wal"


def test_a_transaction_in_which_a_process_died_is_not_damage_to_a_reader(path: str) -> None:
    die_in_a_transaction(path, CHANGE)
    with journal.copied(path) as book:
        assert {state.status for state in book.states().values()} == {"none"}
        assert len(book.states()) == MIRRORS
    assert not Path(f"{path}-journal").exists()


def test_neither_is_it_damage_to_who_writes_or_examines(path: str) -> None:
    die_in_a_transaction(path, CHANGE)
    assert examine(path) is None
    die_in_a_transaction(path, CHANGE)
    with journal.opened(path) as book:
        assert {state.status for state in book.states().values()} == {"none"}
    assert mode(path) == "wal"


def test_without_permission_to_roll_back_nothing_is_read_and_no_message_suggests_an_empty_journal(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    die_in_a_transaction(path, CHANGE)
    connect = readonly_copy._connected
    monkeypatch.setattr(readonly_copy, "_connected", lambda path, how: connect(path, how.replace("mode=rw", "mode=ro")))
    with (
        pytest.raises(SkipjackError, match=r"^cannot use the journal .*: attempt to write a read") as failed,
        journal.copied(path),
    ):
        pass
    assert "rm -rf" not in str(failed.value)
    assert Path(f"{path}-journal").exists()


def test_a_killed_process_transaction_never_gets_into_a_new_journal(path: str) -> None:
    die_in_a_transaction(path, CHANGE)
    for lost in (path, f"{path}-mark"):
        Path(lost).unlink()

    with (
        pytest.raises(SkipjackError, match=r"journal\.db-journal shows that it was in use") as failed,
        sqlite_file.opened(path),
    ):
        pass
    assert not Path(path).exists()
    command = sqlite_database.removal(path, [])
    assert command in str(failed.value)
    subprocess.run(["/bin/sh", "-c", command], check=True, timeout=60)

    with journal.opened(path) as book:
        assert book.states() == {}
    assert examine(path) is None
