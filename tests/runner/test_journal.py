"""The journal: a change and its report are one, numbers are never used twice, and writers do not fail each other."""

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from runner.journal import journal, outbox
from runner.journal.journal import Ending, Journal, Subject
from runner.journal.last_success import Left, Past
from runner.journal.migrations import MIGRATIONS
from runner.plan.schedule import RECOVERY_DELAY
from schemas.config.schema_set import validator
from schemas.errors import SkipjackError
from schemas.report import HIGHEST, PROTOCOL, Probe, Run

SUBJECT = Subject("debian", "rsync://rsync.example.org/debian/", True, "a" * 40)
MANY = 10_000_000


def one_run(book: Journal, status: str = "success", now: float = 100.0, **fields: int) -> int:
    run = book.begin(None, SUBJECT, now)
    assert run is not None
    book.end(run, "debian", Ending(status, **fields), now + 5)  # type: ignore[arg-type]
    return run


def test_a_run_leaves_its_state_and_a_report_of_every_change(book: Journal) -> None:
    number = book.launch([SUBJECT], [], 100.0)["debian"]
    assert book.begin(number, SUBJECT, 101.0) == number
    book.attempt(number, "debian", "syncing", 1, 102.0)
    statuses = [report["statuses"][0]["status"] for report in book.outbox.oldest(100, MANY)]
    assert statuses == ["launching", "pre-syncing", "syncing"]
    book.end(number, "debian", Ending("success", exit_code=0, attempts=1, size=7, next_run_at=500.0), 110.0)

    last = book.outbox.oldest(100, MANY)[-1]["statuses"][0]
    assert (last["last_started_at"], last["last_ended_at"], last["last_success_at"]) == (101.0, 110.0, 110.0)
    assert (last["size"], last["next_run_at"], last["run"]["duration"]) == (7, 500.0, 9.0)


def test_an_end_empties_reports_that_it_outdates_but_no_number_is_missing(book: Journal) -> None:
    other = Subject("ubuntu", "x", True, "a" * 40)
    book.begin(None, other, 50.0)
    one_run(book, now=100.0)
    one_run(book, "failed", now=200.0)

    waiting = book.outbox.oldest(100, MANY)

    assert [report["number"] for report in waiting] == [1, 2, 3, 4, 5]
    told = [[status["status"] for status in report["statuses"]] for report in waiting]
    assert told == [["pre-syncing"], [], ["success"], [], ["failed"]]


def test_a_batch_has_as_many_bytes_as_it_may_have_and_no_more(book: Journal) -> None:
    one_run(book)
    one_run(book, "failed", now=200.0)
    with book.together() as db:
        lengths = [row[0] for row in db.execute("SELECT length(content) FROM outbox ORDER BY number")]

    assert len(book.outbox.oldest(100, sum(lengths[:2]))) == 2
    assert len(book.outbox.oldest(100, sum(lengths[:2]) - 1)) == 1


@pytest.mark.parametrize(("most", "tail"), [(1, "the end"), (0, "")])
def test_a_success_has_its_log_up_to_a_limit_of_waiting_reports(
    book: Journal, most: int, tail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BACKLOG", most)
    run = book.begin(None, SUBJECT, 100.0)
    assert run is not None and book.outbox.pending() == 1

    book.end(run, "debian", Ending("success", log_tail="the end"), 105.0)

    assert book.outbox.oldest(100, MANY)[-1]["statuses"][0]["run"]["log_tail"] == tail


def test_a_snapshot_has_no_run_whose_end_was_acknowledged(book: Journal) -> None:
    one_run(book)
    book.outbox.snapshot(book.outbox.newest(), 200.0)
    assert len(book.outbox.oldest(100, MANY)) == 1
    book.outbox.snapshot(1, 201.0)
    assert len(book.outbox.oldest(100, MANY)) == 2


def test_the_newest_runs_stay_and_older_ones_go_once_their_ends_are_acknowledged(
    book: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "KEPT_RUNS", 1)
    runs = [one_run(book, now=now) for now in (100.0, 200.0)]
    book.outbox.acknowledge(book.outbox.newest() - 1)
    runs.append(one_run(book, now=300.0))
    assert [run for run in runs if book.run(run)] == runs[1:], "the manager does not know the end of the second"

    book.outbox.acknowledge(book.outbox.newest() - 2)
    runs.append(one_run(book, now=400.0))

    assert [run for run in runs if book.run(run)] == runs[2:]

    book.outbox.acknowledge(book.outbox.newest())
    runs.append(one_run(book, now=500.0))

    assert [run for run in runs if book.run(run)] == runs[4:]


def test_a_success_is_moved_only_if_it_is_further_ahead_than_clocks_are_corrected(book: Journal) -> None:
    run = book.begin(None, SUBJECT, 100.0)
    assert run is not None
    book.end(run, "debian", Ending("success"), 200.0 + RECOVERY_DELAY)

    book.begin(None, SUBJECT, 200.0)
    assert book.state("debian").last_success_at == 200.0 + RECOVERY_DELAY
    book.begin(None, SUBJECT, 199.0)
    assert book.state("debian").last_success_at == 199.0


def test_a_mirror_waits_if_no_run_ended_after_it_was_found_due(book: Journal) -> None:
    one_run(book, now=100.0)
    book.launch([], [SUBJECT], 104.0)
    assert book.state("debian").status == "success"
    book.launch([], [SUBJECT], 105.0)
    assert book.state("debian").status == "queued"


def test_a_size_is_measured_again_after_exactly_a_day(book: Journal) -> None:
    one_run(book)
    book.measured("debian", 9, 200.0)
    run = one_run(book, now=300.0)
    assert book.run(run) is not None

    due = [now for now in (200.0, 200.0 + 86399, 200.0 + 86400) if book.needs_size("debian", now)]

    assert due == [200.0 + 86400]


def test_a_probe_is_due_after_exactly_its_interval(book: Journal) -> None:
    one_run(book)
    book.probed("debian", Probe(200.0, file="trace"), 200.0)

    assert [now for now in (209.0, 210.0) if book.probes_due({"debian": "trace"}, now, 10.0)] == [210.0]


def test_a_run_that_died_keeps_the_number_of_its_attempts(book: Journal) -> None:
    run = book.begin(None, SUBJECT, 100.0)
    assert run is not None
    book.attempt(run, "debian", "syncing", 3, 101.0)
    [active] = book.active()

    assert book.recover(active, Ending("interrupted"), 110.0)

    ended = book.run(run)
    assert ended is not None and ended.attempts == 3


@pytest.mark.parametrize(("attempts", "size"), [(1, 60), (2, 150)])
def test_a_size_rises_by_what_was_transferred_if_one_attempt_did_it_all(
    book: Journal, attempts: int, size: int
) -> None:
    one_run(book, size=100, by_name=True, attempts=1)
    book.measured("debian", 50, 150.0)

    one_run(book, now=200.0, size=200, by_name=True, attempts=attempts, transferred=10)

    assert book.state("debian").size == size


def test_a_waiting_run_gets_no_slot_beyond_the_limit(book: Journal) -> None:
    waiting = book.begin(None, SUBJECT, 100.0)
    assert waiting is not None and book.begin(None, SUBJECT._replace(name="other"), 100.0)
    book.wait_between_attempts(waiting, "debian", 160.0, "broken", 110.0)

    assert (book.claim_slot("debian", 1), book.claim_slot("debian", 2)) == (False, True)


def test_a_week_without_a_manager_costs_little(book: Journal) -> None:
    for number in range(500):
        run = book.begin(None, SUBJECT, float(number))
        assert run is not None
        book.attempt(run, "debian", "syncing", 1, float(number))
        book.end(run, "debian", Ending("success", log_tail="x" * 8000), float(number))

    newest = book.outbox.oldest(10_000, 10**9)

    assert len(newest) == 1500
    assert newest[2]["statuses"][0]["run"]["log_tail"]
    assert newest[-1]["statuses"][0]["run"]["log_tail"] == ""
    waiting = sum(len(json.dumps(report)) for report in newest if not report["statuses"])
    assert waiting < 1000 * 120


def test_a_failure_keeps_the_size_and_the_last_success(book: Journal) -> None:
    one_run(book, now=100.0, size=42)
    one_run(book, "failed", now=200.0)

    state = book.states()["debian"]

    assert (state.status, state.size, state.last_success_at, state.last_ended_at) == ("failed", 42, 105.0, 205.0)


def test_a_run_has_every_field_of_its_end_that_reports_have(book: Journal) -> None:
    shared = [name for name in Ending._field_defaults if name in Run._fields]
    values = {
        name: f"text {number}" if isinstance(Ending._field_defaults[name], str) else number
        for number, name in enumerate(shared, 2)
    }
    run = book.begin(None, SUBJECT, 100.0)
    assert run is not None
    book.end(run, "debian", Ending("failed")._replace(**values), 105.0)  # type: ignore[arg-type]
    kept = book.run(run)
    assert kept is not None
    assert {name: getattr(kept, name) for name in shared} == values


def test_an_end_is_recorded_once(book: Journal) -> None:
    run = one_run(book)
    before = book.outbox.pending()

    assert not book.end(run, "debian", Ending("interrupted"), 300.0)
    assert (book.outbox.pending(), book.states()["debian"].status) == (before, "success")


def test_a_mirror_with_an_active_run_is_not_launched_again(book: Journal) -> None:
    assert book.launch([SUBJECT], [], 100.0)
    assert book.launch([SUBJECT], [], 101.0) == {}


def test_a_launch_that_was_given_up_does_not_begin_any_more(book: Journal) -> None:
    number = book.launch([SUBJECT], [], 100.0)["debian"]
    book.end(number, "debian", Ending("launch-failed"), 140.0)

    assert book.begin(number, SUBJECT, 141.0) is None
    assert book.states()["debian"].status == "launch-failed"


def test_a_run_by_hand_takes_the_place_of_a_launched_one(book: Journal) -> None:
    number = book.launch([SUBJECT], [], 100.0)["debian"]

    assert book.begin(None, SUBJECT, 101.0) == number
    assert book.begin(number, SUBJECT, 102.0) is None


def test_a_run_that_begins_ends_what_only_seems_to_be_active(book: Journal) -> None:
    dead = book.begin(None, SUBJECT, 100.0)
    run = book.begin(None, SUBJECT, 200.0)

    assert dead is not None
    assert [active.id for active in book.active()] == [run]
    ended = book.run(dead)
    assert ended is not None
    assert (ended.status, ended.ended_at) == ("interrupted", 200.0)


def test_waiting_for_a_slot_is_reported_once_and_is_not_a_run(book: Journal) -> None:
    one_run(book)
    before = book.outbox.pending()
    for _ in range(3):
        book.launch([], [SUBJECT], 200.0)

    assert book.outbox.pending() == before + 1
    assert book.outbox.oldest(100, MANY)[-1]["statuses"][0]["run"]["id"] == 1
    number = book.launch([SUBJECT], [], 300.0)["debian"]
    book.queue(number, SUBJECT, 301.0)
    assert (book.states()["debian"].status, book.active()) == ("queued", [])


def test_numbers_are_not_used_again_after_the_outbox_was_drained(book: Journal, path: str) -> None:
    one_run(book)
    newest = book.outbox.oldest(100, MANY)[-1]["number"]
    book.outbox.acknowledge(newest)
    assert book.outbox.oldest(100, MANY) == []

    with journal.opened(path) as again:
        one_run(again, now=200.0)
        assert again.outbox.oldest(100, MANY)[0]["number"] == newest + 1


def test_a_snapshot_replaces_what_waits_and_holds_every_end_that_may_be_unknown(book: Journal) -> None:
    one_run(book, now=100.0)
    known = book.outbox.oldest(100, MANY)[-1]["number"]
    book.outbox.acknowledge(known)
    for number in range(3):
        one_run(book, now=200.0 + number * 10)

    book.outbox.snapshot(known, 300.0)

    [state, ends] = book.outbox.oldest(100, MANY)
    assert (state["kind"], state["runs"], state["statuses"][0]["run"]["id"]) == ("snapshot", [], 4)
    assert (ends["kind"], [run["id"] for run in ends["runs"]]) == ("change", [2, 3, 4])
    assert state["number"] > known + 6
    book.outbox.snapshot(0, 301.0)
    assert [run["id"] for run in book.outbox.oldest(100, MANY)[1]["runs"]] == [1, 2, 3, 4]


def test_a_snapshot_of_much_is_several_reports_and_a_second_one_loses_nothing_of_it(book: Journal) -> None:
    for number in range(outbox.RUNS_AT_ONCE * 2 + 1):
        one_run(book, now=200.0 + number * 10)
    book.outbox.snapshot(0, 1000.0)
    first = [[run["id"] for run in report["runs"]] for report in book.outbox.oldest(100, MANY)]
    assert [len(ids) for ids in first] == [0, outbox.RUNS_AT_ONCE, outbox.RUNS_AT_ONCE, 1]
    known = book.outbox.oldest(100, MANY)[1]["number"]
    book.outbox.acknowledge(known)

    book.outbox.snapshot(known, 1001.0)

    assert [[run["id"] for run in report["runs"]] for report in book.outbox.oldest(100, MANY)] == [[], *first[2:]]


def test_reports_match_the_schema(book: Journal) -> None:
    one_run(book, size=3)
    book.outbox.snapshot(0, 300.0)
    one_run(book, "failed", now=400.0)
    envelope = {
        "protocol": PROTOCOL, "worker": "w1", "journal": book.outbox.identity(), "sent_at": 1.0, "version": "1",
        "revision": None, "slots_total": 1, "slots_busy": 0, "problems": [], "reports": book.outbox.oldest(100, MANY),
    }  # fmt: skip

    assert list(validator("report").iter_errors(json.loads(json.dumps(envelope)))) == []


def test_an_end_is_recorded_whatever_an_upstream_claims(book: Journal) -> None:
    """It may print any number: the sum of some lines did not fit into a column, and the end was lost."""
    words = "x" * 100_000
    run = book.begin(None, SUBJECT, 100.0)
    assert run is not None
    ending = Ending("failed", words, 23, 1, bytes=10**30, files=10**25, size=10**40, log_tail=words, by_name=True)
    assert book.end(run, "debian", ending, 105.0)
    content = book.outbox.oldest(100, MANY)[-1]
    (status,) = content["statuses"]
    assert (status["status"], status["run"]["bytes"], status["run"]["files"]) == ("failed", 2**62, 2**62)
    assert len(status["run"]["reason"]) == 2000


def test_a_batch_is_bounded_but_never_empty(book: Journal) -> None:
    for number in range(5):
        one_run(book, now=100.0 * number + 100)

    assert len(book.outbox.oldest(3, MANY)) == 3
    assert len(book.outbox.oldest(100, 1)) == 1


def test_old_runs_are_deleted_only_once_the_manager_has_acknowledged_them(
    book: Journal, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "KEPT_RUNS", 3)
    for number in range(6):
        one_run(book, now=100.0 * number + 100)
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute("SELECT count(*) FROM run").fetchone() == (6,)
    book.outbox.acknowledge(book.outbox.oldest(100, MANY)[-1]["number"])
    one_run(book, now=1000.0)
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute("SELECT count(*) FROM run").fetchone()[0] <= 4


def test_a_damaged_and_a_newer_journal_are_reported(path: str) -> None:
    Path(path).write_text("this is not a database, and long enough to be read" * 10)
    with pytest.raises(SkipjackError, match=r"is damaged: .*restore a backup\. .*`rm "), journal.opened(path):
        pass
    Path(path).unlink()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA user_version=99")
    with pytest.raises(SkipjackError, match="newer version"), journal.opened(path):
        pass


WRITER = """
import sys, time
from runner.journal import journal, outbox
from runner.journal.journal import Ending, Subject
with journal.opened(sys.argv[1]) as book:
    subject = Subject(sys.argv[2], "x", True, "a" * 40)
    for _ in range(20):
        run = book.begin(None, subject, time.time())
        book.attempt(run, subject.name, "syncing", 1, time.time())
        assert book.end(run, subject.name, Ending("success"), time.time())
"""


def test_16_processes_write_at_once_while_the_courier_drains(path: str) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, f"m{number}"], stderr=subprocess.PIPE)
        for number in range(16)
    ]
    drained: list[int] = []
    with journal.opened(path) as book:
        while any(writer.poll() is None for writer in writers) or book.outbox.pending():
            if came := [report["number"] for report in book.outbox.oldest(50, MANY)]:
                drained += came
                book.outbox.acknowledge(came[-1])
            else:
                time.sleep(0.01)  # SQLite does not queue writers: one that always asks starves the others

    assert [writer.communicate()[1] for writer in writers] == [b""] * 16
    assert drained == list(range(1, 16 * 20 * 3 + 1))


def test_a_measured_size_is_reported_and_not_wanted_again_for_a_day(book: Journal) -> None:
    one_run(book, now=100.0, size=5)
    assert not book.needs_size("debian", 200.0)
    one_run(book, now=1000.0)
    assert book.needs_size("debian", 1005.0)

    book.measured("debian", 77, 1010.0)

    assert book.outbox.oldest(100, MANY)[-1]["statuses"][0]["size"] == 77
    assert not book.needs_size("debian", 1010.0 + 86399)
    assert book.needs_size("debian", 1010.0 + 86400)


DAY = 86400.0


def synced(book: Journal, now: float, size: int, files: int = 0) -> int | None:
    """The size that is shown after a run whose log had a sum over names."""
    one_run(book, now=now, size=size, files=files, by_name=True)
    return book.states()["debian"].size


def test_a_sum_over_names_is_corrected_by_what_was_measured_last(book: Journal) -> None:
    assert synced(book, 100.0, 220, files=20) == 220, "no other size is known before the first walk"
    assert book.needs_size("debian", 105.0)
    book.measured("debian", 11, 110.0)
    assert book.states()["debian"].size == 11
    assert synced(book, 200.0, 225, files=1) == 16, "five bytes came"
    assert synced(book, 300.0, 3) == 0, "no size is below nothing"
    one_run(book, now=400.0, size=7)
    assert (book.states()["debian"].size, book.needs_size("debian", DAY * 9)) == (7, False), "this one is known"


def test_a_sum_over_names_is_measured_again_when_something_changed_and_a_day_has_gone_by(book: Journal) -> None:
    synced(book, 100.0, 220, files=20)
    book.measured("debian", 11, 110.0)
    synced(book, 110 + DAY, 220)
    assert not book.needs_size("debian", 120 + DAY), "a run that brought nothing alters no size"
    one_run(book, "failed", now=200 + DAY, files=1)
    synced(book, 300 + DAY, 220)
    assert book.needs_size("debian", 310 + DAY), "the one that failed brought something"
    book.measured("debian", 12, 320 + DAY)
    synced(book, 400 + DAY, 219)
    assert not book.needs_size("debian", 410 + DAY)
    assert book.needs_size("debian", 410 + 2 * DAY), "something was deleted"


def test_a_journal_of_an_earlier_version_is_brought_up_to_date_while_an_old_run_has_it_open(path: str) -> None:
    first = sqlite3.connect(path, isolation_level=None)
    first.execute("PRAGMA journal_mode=WAL")
    for statement in filter(str.strip, MIGRATIONS[0].split(";")):
        first.execute(statement)
    first.execute("INSERT INTO identity VALUES ('0123', 0)")
    first.execute("INSERT INTO mirror (name, upstream, is_master, status) VALUES ('old', 'x', 1, 'success')")
    first.execute("PRAGMA user_version=1")

    with journal.opened(path) as book:
        one_run(book)
        assert set(book.states()) == {"old", "debian"}
    first.execute("UPDATE mirror SET status = 'failed' WHERE name = 'old'")
    first.close()
    with journal.opened(path) as book:
        assert book.states()["old"].status == "failed"


def test_only_a_success_changes_what_was_accepted(book: Journal) -> None:
    accepted = Left("/srv/m", None, 40, 4000, on_disk=3000)
    for status, left in (("success", accepted), ("refused", Left("", 7, 2, 20, on_disk=20)), ("failed", None)):
        run = book.begin(None, SUBJECT, 100.0)
        assert run is not None
        book.attempt(run, "debian", "syncing", 1, 101.0, identity=9)
        assert book.past("debian").emptied == 9, "a run that is killed now may leave it empty"
        book.end(run, "debian", Ending(status, left=left), 105.0)
    assert book.past("debian") == Past(105.0, "/srv/m", None, 9, 40, 4000, on_disk=3000)
    book.allow_empty_start("debian")
    assert book.past("debian") == Past(105.0, "", None, None, None, None)


def test_deletions_of_more_bytes_than_a_journal_can_hold_are_counted_up_to_that(book: Journal) -> None:
    """Files with holes may claim any size."""
    run = book.begin(None, SUBJECT, 100.0)
    assert run is not None
    for token in ("a", "b", "c"):
        book.deleting("debian", token, 1, 2**70)
    assert book.past("debian").deleted == (3, HIGHEST)
    book.deleted_less("debian", "c", 3, 2**70)
    assert book.past("debian").deleted == (0, 0)


def test_stopped_deletions_stay_stopped_until_a_success(book: Journal) -> None:
    ends = (("refused", Left("", refused=True), True), ("failed", Left(), True), ("refused", Left(), True),
            ("interrupted", None, True), ("success", Left("/srv/m"), False), ("refused", Left(), False))  # fmt: skip
    for status, left, stands in ends:
        run = book.begin(None, SUBJECT, 100.0)
        assert run is not None
        book.end(run, "debian", Ending(status, left=left), 105.0)
        assert bool(book.past("debian").refused) == stands, status


def test_an_upgraded_journal_knows_no_directories(tmp_path: Path) -> None:
    path = str(tmp_path / "old.db")
    connection = sqlite3.connect(path)
    before = next(number for number, step in enumerate(MIGRATIONS) if "accepted_files" in step)
    for step in MIGRATIONS[:before]:
        connection.executescript(step)
    connection.execute("INSERT INTO identity VALUES ('x', 0)")
    columns = "name, upstream, is_master, status, last_success_at, size"
    connection.execute(f"INSERT INTO mirror ({columns}) VALUES ('debian', 'x', 1, 'success', 50.0, 7)")
    connection.execute(f"PRAGMA user_version={before}")
    connection.commit()
    connection.close()
    with journal.opened(path) as book:
        past = book.past("debian")
    assert (past, past.had_files, past.accepted) == (Past(50.0, size=7), True, None)


def test_a_walk_beside_a_later_run_corrects_what_it_has_seen(book: Journal) -> None:
    synced(book, 10, 100, files=1)
    told = book.logged_size("debian")
    synced(book, 20, 1000, files=9)
    book.measured("debian", 90, 30.0, told)
    assert book.states()["debian"].size == 990, "ten bytes less than the log tells, then as now"
    assert book.needs_size("debian", 31.0 + DAY), "what the later run brought was not looked at"


def test_new_names_of_old_files_add_nothing_to_the_size(book: Journal) -> None:
    def shown(now: float, size: int, **fields: Any) -> int | None:
        one_run(book, now=now, size=size, by_name=True, **fields)
        return book.states()["debian"].size

    assert shown(100.0, 100, files=10, transferred=100) == 100
    book.measured("debian", 100, 110.0)
    assert shown(200.0, 180, files=0, transferred=0) == 100, "a hard link to a file of 80 bytes"
    assert shown(300.0, 270, files=1, transferred=10) == 110, "and another one, and a file of 10 bytes"
    assert shown(400.0, 275, files=1, transferred=15) == 115, "a file of 10 bytes became one of 15"
    assert shown(500.0, 195, files=0, transferred=0) == 35, "a name was removed, perhaps the last one of its file"
    book.measured("debian", 115, 510.0)
    assert shown(600.0, 195, files=0, transferred=0) == 115


@pytest.mark.parametrize("attempts", [1, 2])
def test_files_of_an_unfinished_run_count_with_the_next_success(book: Journal, attempts: int) -> None:
    one_run(book, now=100.0, size=100, files=1, by_name=True, transferred=100)
    book.measured("debian", 100, 110.0)
    if attempts == 1:
        one_run(book, "failed", now=200.0, files=5)
    one_run(book, now=300.0, size=150, files=0, by_name=True, transferred=0, attempts=attempts)
    assert book.states()["debian"].size == 150


def died(book: Journal, now: float) -> None:
    """A run begins and its process dies; a tick records that."""
    book.begin(None, SUBJECT, now)
    [active] = book.active()
    assert book.recover(active, Ending("interrupted", died=True), now + 1)


def test_losses_of_runs_that_died_are_uncounted_since_the_first_of_them(book: Journal) -> None:
    one_run(book, "failed")
    assert book.past("debian").uncounted_since is None
    book.begin(None, SUBJECT, 200.0)
    book.begin(None, SUBJECT, 300.0)  # the one before is gone, since its locks are free
    assert book.past("debian").uncounted_since == 200.0
    book.end(book.active()[0].id, "debian", Ending("failed", left=Left()), 305.0)
    died(book, 400.0)
    assert book.past("debian").uncounted_since == 200.0
    book.deleting("debian", "token", 0, 0)
    assert book.past("debian").uncounted_since is None

    died(book, 500.0)
    book.deleted_less("debian", "another token", 0, 0)
    assert book.past("debian").uncounted_since == 500.0
    book.deleted_less("debian", "token", 0, 0)
    assert book.past("debian").uncounted_since is None
    died(book, 600.0)
    book.end(book.begin(None, SUBJECT, 700.0) or 0, "debian", Ending("success", left=Left()), 701.0)
    assert book.past("debian").uncounted_since is None


def test_a_run_that_never_began_has_lost_nothing(book: Journal) -> None:
    book.launch([SUBJECT], [], 100.0)
    [active] = book.active()
    assert book.recover(active, Ending("launch-failed", died=True), 110.0)
    assert book.past("debian").uncounted_since is None
