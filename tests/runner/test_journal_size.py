"""After a long outage of the manager the journal shrinks again, without an effect on other programs."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from runner.journal import journal, unused_space
from runner.journal.journal import Ending, Journal, Subject

MIB = 1024**2


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "journal.db")


def of_an_earlier_release(path: str) -> None:
    """A journal whose unused pages SQLite keeps."""
    with journal.opened(path):
        pass
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA auto_vacuum=NONE")
    connection.execute("VACUUM")
    connection.close()


@contextmanager
def after_an_outage(path: str, *, earlier: bool = False) -> Iterator[Journal]:
    """Open a journal, of an earlier release or not, in which some 10 MiB of reports were acknowledged at once."""
    if earlier:
        of_an_earlier_release(path)
    with journal.opened(path) as book:
        book._db.execute("PRAGMA synchronous=OFF")  # it is the size that matters here
        with book.together():
            for number in range(1000):
                subject = Subject(f"m{number % 50}", "x", True, "a" * 40)
                run = book.begin(None, subject, float(number))
                assert run is not None
                book.end(run, subject.name, Ending("failed", log_tail="x" * 5000), float(number))
        book.outbox.acknowledge(book.outbox.newest())
        yield book


def size(path: str) -> int:
    return sum(beside.stat().st_size for beside in map(Path, (path, f"{path}-wal")) if beside.exists())


def is_sound(path: str) -> bool:
    with closing(sqlite3.connect(path)) as connection, connection:
        found = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    return found


@pytest.mark.parametrize("earlier", [False, True])
def test_a_journal_shrinks_when_a_week_of_reports_was_acknowledged(path: str, earlier: bool) -> None:
    with after_an_outage(path, earlier=earlier) as book:
        book._db.execute("DELETE FROM run WHERE id < 950")
        before, states = size(path), book.states()
        assert before > 8 * MIB

        book.give_back()

        assert size(path) < 3 * MIB
        assert book.states() == states
        run = book.begin(None, Subject("m1", "x", True, "a" * 40), 10**6)
        assert run is not None and book.end(run, "m1", Ending("success"), 10**6 + 1)
    assert is_sound(path)


def test_a_little_unused_space_is_kept(path: str) -> None:
    with journal.opened(path) as book:
        subject = Subject("m", "x", True, "a" * 40)
        for number in range(100):
            run = book.begin(None, subject, float(number))
            assert run is not None
            book.end(run, "m", Ending("failed", log_tail="x" * 5000), float(number))
        book.outbox.acknowledge(book.outbox.newest())
        book._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        before = size(path)
        book.give_back()
        assert size(path) == before


def test_an_earlier_releases_journal_that_would_take_long_to_write_is_left_as_it_is(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unused_space, "REWRITTEN", MIB // 8)
    with after_an_outage(path, earlier=True) as book:
        book._db.execute("DELETE FROM run WHERE id < 700")
        book._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        before = size(path)
        book.give_back()
        assert size(path) == before
    assert is_sound(path)


@pytest.mark.parametrize("earlier", [False, True])
def test_without_space_on_the_disk_nothing_is_returned_and_nothing_damaged(
    path: str, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    with after_an_outage(path, earlier=earlier) as book:
        states = book.states()
        monkeypatch.setattr(unused_space, "_free_on_disk", lambda _connection: 4096)
        book.give_back()
        assert book.states() == states
    assert is_sound(path)


WRITER = """
import sys, time
from runner.journal import journal
from runner.journal.journal import Ending, Subject
with journal.opened(sys.argv[1]) as book:
    subject = Subject("w" + sys.argv[2], "x", True, "a" * 40)
    for number in range(30):
        run = book.begin(None, subject, float(number))
        assert book.end(run, subject.name, Ending("success"), float(number) + 1)
"""


@pytest.mark.parametrize("earlier", [False, True])
def test_others_go_on_writing_meanwhile(path: str, earlier: bool) -> None:
    with after_an_outage(path, earlier=earlier) as book:
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, path, str(number)], stderr=subprocess.PIPE)
            for number in range(4)
        ]
        while any(writer.poll() is None for writer in writers):
            book.give_back()
        for writer in writers:
            _out, said = writer.communicate()
            assert (writer.returncode, said) == (0, b"")
        assert {f"w{number}" for number in range(4)} <= book.states().keys()
    assert is_sound(path)
