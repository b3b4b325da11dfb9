"""The copy of the journal that a migration leaves, and the way back to the release before it."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from runner.journal import journal, migration_backup, sqlite_file
from runner.journal.journal import Subject
from runner.journal.migrations import MIGRATIONS
from schemas.errors import SkipjackError

SUBJECT = Subject("debian", "rsync://rsync.example.org/debian/", True, "a" * 40)
OLD = len(MIGRATIONS) - 1


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A journal of the release before this one, in which a mirror waits."""
    path = str(tmp_path / "journal.db")
    with monkeypatch.context() as earlier:
        earlier.setattr(sqlite_file, "MIGRATIONS", MIGRATIONS[:OLD])
        with sqlite_file.opened(path) as connection:
            connection.execute(
                "INSERT INTO mirror (name, upstream, is_master, status) VALUES ('debian', 'x', 1, 'none')"
            )
    return path


def version(path: str) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def mode(path: str) -> str:
    """The journal mode that the file itself names."""
    connection = sqlite3.connect(path)
    try:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])
    finally:
        connection.close()


def test_the_first_migration_leaves_a_copy_that_the_old_release_can_use(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = migration_backup.path_of(path, OLD)
    with journal.copied(path):
        assert not Path(copy).exists(), "who only reads leaves nothing"
    with journal.opened(path) as book:
        book.launch([SUBJECT], [], 100.0)
    assert (version(path), version(copy)) == (len(MIGRATIONS), OLD)
    assert mode(copy) == "wal", "the older release may not know how to change that"
    assert [each.name for each in Path(copy).parent.glob("*of-version*")] == [Path(copy).name]
    before = Path(copy).read_bytes()
    with journal.opened(path) as book:
        assert book.states()["debian"].status == "launching"
    assert Path(copy).read_bytes() == before, "it is made once"

    monkeypatch.setattr(sqlite_file, "MIGRATIONS", MIGRATIONS[:OLD])
    with pytest.raises(SkipjackError, match="was written by a newer version") as failed, journal.opened(path):
        pass
    assert f"`{copy}`" in str(failed.value)
    for ending in ("", "-wal", "-shm", "-journal", "-mark", "-reserve"):
        Path(path + ending).unlink(missing_ok=True)
    shutil.copy(copy, path)
    with sqlite_file.opened(path) as connection:
        assert [row["name"] for row in connection.execute("SELECT name FROM mirror")] == ["debian"]


def test_a_new_journal_has_no_copy(tmp_path: Path) -> None:
    with journal.opened(str(tmp_path / "journal.db")):
        pass
    assert [each.name for each in tmp_path.iterdir() if "of-version" in each.name] == []


def test_without_space_for_the_copy_the_journal_stays_as_it_was(path: str) -> None:
    Path(migration_backup.path_of(path, OLD)).mkdir()
    with (
        pytest.raises(SkipjackError, match=r"cannot back up the journal .* to .*the earlier release still works"),
        journal.opened(path),
    ):
        pass
    assert version(path) == OLD
