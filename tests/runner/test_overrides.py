"""Overrides and requested starts in the journal, and what `skipjack next` makes of them."""

import sqlite3
from typing import Any

import pytest

from runner.journal import journal
from runner.journal.command_table import CommandTable, ManagerCommand
from runner.journal.journal import Ending, Journal, Released, Subject
from runner.journal.migrations import MIGRATIONS
from runner.overrides import override_store
from runner.overrides.operator_commands import operator_name
from runner.plan.plan import Due
from runner.plan.schedule import Decision, OperatorRequest, Rules, State, World, decide
from runner.tick.next_runs import rows_of
from schemas.records import SyncWindows
from schemas.report import Override

SUBJECT = Subject("debian", "rsync://rsync.example.org/debian/", True, "a" * 40)
OTHER = SUBJECT._replace(name="ubuntu")


def begun(book: Journal, now: float = 100.0) -> int:
    run = book.launch([SUBJECT], [], now)["debian"]
    assert book.begin(run, SUBJECT, now) == run
    return run


def reported(book: Journal) -> list[dict[str, Any]]:
    """Every status that a report tells, oldest first."""
    return [status for report in book.outbox.oldest(100, 10**9) for status in report["statuses"]]


def status(book: Journal) -> str:
    return book.states()["debian"].status


@pytest.mark.parametrize("kind", ["paused", "disabled"])
def test_an_override_of_a_mirror_without_a_run_is_its_status_and_is_reported(book: Journal, kind: str) -> None:
    assert override_store.override(book, [SUBJECT], kind, "ada", 50.0) == []

    assert status(book) == kind
    assert (reported(book)[-1]["status"], reported(book)[-1]["next_run_at"]) == (kind, None)
    assert book.operator_requests() == {"debian": OperatorRequest(kind, made_at=50.0, made_by="ada")}


def test_reports_and_next_show_who_switched_a_mirror_off_since_when_and_why(book: Journal) -> None:
    override_store.override(book, [SUBJECT], "disabled", "ada", 50.0, reason="new disk")
    told = {"kind": "disabled", "since": 50.0, "by": "ada", "reason": "new disk"}
    assert reported(book)[-1]["override"] == told
    assert [each.override for each in book.statuses()] == [Override("disabled", 50.0, "ada", "new disk")]
    world = World(Rules(), book.states(), book.operator_requests(), frozenset({"debian"}))
    (row,) = rows_of([Due("debian", 3600)], world, 60.0)
    assert (row.why, row.at) == ("disabled by ada: new disk", 50.0)

    override_store.lift(book, [SUBJECT], 70.0)
    assert reported(book)[-1]["override"] is None


def test_the_end_of_a_run_has_the_reason_of_the_override(book: Journal) -> None:
    run = begun(book)
    override_store.override(book, [SUBJECT], "paused", "ada", 110.0, reason="new disk")
    book.end(run, "debian", Ending("interrupted", "", next_run_at=500.0), 120.0)
    last = reported(book)[-1]
    assert (last["run"]["reason"], last["override"]["reason"]) == ("paused by ada: new disk", "new disk")


def test_overrides_of_an_earlier_release_stay_and_have_no_reason(path: str) -> None:
    before = next(number for number, step in enumerate(MIGRATIONS) if "override ADD COLUMN reason" in step)
    connection = sqlite3.connect(path)
    for statement in filter(str.strip, ";".join(MIGRATIONS[:before]).split(";")):
        connection.execute(statement)
    connection.execute("INSERT INTO identity (journal, acknowledged) VALUES ('a', 0)")
    connection.execute("INSERT INTO override VALUES ('debian', 'paused', 5.0, 'ada')")
    connection.execute("INSERT INTO command (number, kind, mirrors, force, issued_by) VALUES (1, 'ping', '[]', 0, 'x')")
    connection.execute(f"PRAGMA user_version={before}")
    connection.commit()
    connection.close()
    with journal.opened(path) as book:
        assert book.operator_requests() == {"debian": OperatorRequest("paused", made_at=5.0, made_by="ada")}
        assert CommandTable(book).waiting() == [ManagerCommand(1, "ping", (), False, "x")]


def test_a_run_that_an_override_ends_was_stopped_and_the_mirror_is_paused(book: Journal) -> None:
    run = begun(book)
    assert override_store.override(book, [SUBJECT], "paused", "ada", 110.0) == ["debian"]
    assert status(book) == "pre-syncing", "until the run has ended"

    book.end(run, "debian", Ending("interrupted", "the run received a stop signal", next_run_at=500.0), 120.0)

    ended = book.run(run)
    assert ended is not None and (ended.status, ended.reason) == ("stopped", "paused by ada")
    assert (status(book), book.states()["debian"].failures) == ("paused", 0)
    assert (reported(book)[-1]["status"], reported(book)[-1]["run"]["status"]) == ("paused", "stopped")
    assert reported(book)[-1]["next_run_at"] is None


def test_a_run_that_succeeded_before_the_stop_is_a_success(book: Journal) -> None:
    run = begun(book)
    override_store.override(book, [SUBJECT], "disabled", "ada", 110.0)

    book.end(run, "debian", Ending("success"), 120.0)

    ended = book.run(run)
    assert ended is not None and (ended.status, status(book)) == ("success", "disabled")
    assert book.states()["debian"].last_success_at == 120.0


def test_without_an_override_a_signal_alone_is_an_interruption(book: Journal) -> None:
    run = begun(book)
    book.end(run, "debian", Ending("interrupted", "a shutdown"), 120.0)

    ended = book.run(run)
    assert ended is not None and (ended.status, ended.reason, status(book)) == (
        "interrupted",
        "a shutdown",
        "interrupted",
    )


def test_the_reason_of_a_stop_is_the_reason_of_that_end_only(book: Journal) -> None:
    run = begun(book)
    book.give_reason_to_stop(["debian"], "the hours are over")
    book.give_reason_to_stop(["debian"], "another reason that comes too late")
    book.end(run, "debian", Ending("interrupted", "a signal"), 120.0)
    ended = book.run(run)
    assert ended is not None and (ended.status, ended.reason) == ("interrupted", "the hours are over")

    run = begun(book, 200.0)
    book.end(run, "debian", Ending("interrupted", "a signal"), 220.0)
    ended = book.run(run)
    assert ended is not None and ended.reason == "a signal"


def test_a_launched_run_does_not_start_once_its_mirror_is_paused(book: Journal) -> None:
    run = book.launch([SUBJECT], [], 100.0)["debian"]

    assert override_store.override(book, [SUBJECT], "paused", "ada", 101.0) == []

    assert book.begin(run, SUBJECT, 102.0) is None
    ended = book.run(run)
    assert ended is not None and (ended.status, status(book)) == ("stopped", "paused")


def test_no_run_starts_by_hand_or_by_a_late_unit_while_a_mirror_is_paused(book: Journal) -> None:
    book.launch([SUBJECT], [], 100.0)
    override_store.override(book, [SUBJECT], "paused", "ada", 101.0)

    assert book.begin(None, SUBJECT, 102.0) is None
    assert status(book) == "paused"
    override_store.lift(book, [SUBJECT], 103.0)
    assert book.begin(None, SUBJECT, 104.0) is not None


def test_a_decision_made_before_an_override_launches_nothing(book: Journal) -> None:
    override_store.override(book, [SUBJECT], "paused", "ada", 99.0)

    assert set(book.launch([SUBJECT, OTHER], [], 100.0)) == {"ubuntu"}
    book.launch([], [SUBJECT], 100.0)
    assert status(book) == "paused"


def test_lifting_an_override_shows_the_last_status_again(book: Journal) -> None:
    run = begun(book)
    book.end(run, "debian", Ending("failed", "broken"), 120.0)
    override_store.override(book, [SUBJECT, OTHER], "disabled", "ada", 130.0)

    override_store.lift(book, [SUBJECT, OTHER], 140.0)

    assert {name: state.status for name, state in book.states().items()} == {"debian": "failed", "ubuntu": "none"}
    assert book.operator_requests() == {}
    assert [each["status"] for each in reported(book)][-2:] == ["failed", "none"]


def test_a_start_request_lifts_an_override_and_ends_with_the_launch(book: Journal) -> None:
    override_store.override(book, [SUBJECT], "disabled", "ada", 50.0)
    override_store.request(book, [SUBJECT], "bob", 60.0, force=True)
    assert book.operator_requests() == {"debian": OperatorRequest("", True, True, 60.0, "bob")}

    run = book.launch([SUBJECT], [], 70.0)["debian"]

    assert book.operator_requests() == {}
    assert book.is_forced("debian")
    assert book.begin(run, SUBJECT, 71.0) == run
    assert book.states()["debian"].forced
    assert not book.is_forced("debian"), "only what is launched takes a slot beyond"


def test_a_forced_start_stays_forced_after_a_failed_launch(book: Journal) -> None:
    override_store.request(book, [SUBJECT, OTHER], "bob", 60.0)
    override_store.request(book, [SUBJECT], "bob", 60.0, force=True)
    book.launch([SUBJECT, OTHER], [], 70.0)

    for active in book.active():
        book.requeue(active, 80.0)

    assert {name: order.force for name, order in book.operator_requests().items()} == {"debian": True}


def test_an_override_cancels_a_start_request(book: Journal) -> None:
    override_store.request(book, [SUBJECT], "bob", 60.0)
    override_store.override(book, [SUBJECT], "paused", "ada", 61.0)
    assert book.operator_requests() == {"debian": OperatorRequest("paused", made_at=61.0, made_by="ada")}


def test_a_start_of_a_running_mirror_requests_nothing_but_a_restart_does(book: Journal) -> None:
    begun(book)
    assert override_store.request(book, [SUBJECT], "bob", 110.0) == ["debian"]
    assert book.operator_requests() == {}

    assert override_store.request(book, [SUBJECT], "bob", 110.0, again=True) == ["debian"]
    assert book.operator_requests()["debian"].requested


def test_a_start_right_after_a_stop_waits_for_the_end_of_the_run(book: Journal) -> None:
    run = begun(book)
    override_store.override(book, [SUBJECT], "paused", "ada", 110.0)

    assert override_store.request(book, [SUBJECT], "ada", 111.0) == []

    book.end(run, "debian", Ending("interrupted"), 112.0)
    assert (status(book), book.operator_requests()["debian"].requested) == ("interrupted", True)


def test_a_sync_window_ends_no_run_by_hand_but_the_next_one(book: Journal) -> None:
    run = book.begin(None, SUBJECT, 100.0)
    assert run is not None and book.states()["debian"].forced
    book.end(run, "debian", Ending("success"), 110.0)
    book.launch([SUBJECT], [], 120.0)
    assert not book.states()["debian"].forced


def test_failures_in_a_row_are_counted(book: Journal) -> None:
    counts = []
    for number, end in enumerate(("failed", "timed-out", "interrupted", "refused", "success", "failed")):
        run = begun(book, 100.0 * number)
        book.end(run, "debian", Ending(end), 100.0 * number + 50)
        counts.append(book.states()["debian"].failures)
    assert counts == [1, 2, 2, 3, 0, 1]


def test_a_run_of_an_earlier_release_can_end_in_a_migrated_journal(path: str) -> None:
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("PRAGMA journal_mode=WAL")
    for step in MIGRATIONS[:3]:
        for statement in filter(str.strip, step.split(";")):
            old.execute(statement)
    old.execute("INSERT INTO identity VALUES ('0123', 0)")
    old.execute("INSERT INTO mirror (name, upstream, is_master, status) VALUES ('debian', 'x', 1, 'syncing')")
    old.execute("INSERT INTO run (mirror, status, launched_at) VALUES ('debian', 'syncing', 1.0)")
    old.execute("PRAGMA user_version=3")

    with journal.opened(path) as book:
        assert book.states()["debian"].failures == 0
        old.execute("INSERT INTO mirror (name, upstream, is_master, status) VALUES ('ubuntu', 'x', 1, 'queued')")
        old.execute("UPDATE mirror SET status = 'failed', last_ended_at = 5.0 WHERE name = 'debian'")
        old.close()
        assert {name: state.status for name, state in book.states().items()} == {"debian": "failed", "ubuntu": "queued"}


# What `next` makes of it

NOW = 1_800_000_000.0
HOUR = 3600


def why(
    mirror: Due, state: State | None = None, order: OperatorRequest | None = None, slots: int = 1
) -> tuple[str, str]:
    others = [Due("busy", HOUR), Due("before", HOUR)]
    states = {"busy": State("syncing", NOW - 60), **({mirror.name: state} if state else {})}
    orders = {mirror.name: order} if order else {}
    world = World(Rules("w1", slots), states, orders, frozenset({mirror.name, "busy", "before"}))
    (row,) = [row for row in rows_of([mirror, *others], world, NOW) if row.mirror == mirror.name]
    return row.waits_for, row.why


A = Due("a", HOUR)
DONE = State("success", NOW - 100, NOW - 60, NOW - 60)


@pytest.mark.parametrize(
    ("mirror", "state", "order", "expected"),
    [
        (A, DONE, None, ("later", "every 1h")),
        (A, DONE._replace(status="failed", failures=1), None, ("later", "every 1h, last run failed")),
        (A, DONE._replace(status="failed", failures=3), None, ("later", "backing off after 3 failed runs")),
        (
            A,
            DONE._replace(status="interrupted", last_ended_at=NOW),
            None,
            ("later", "retry: its last run was interrupted"),
        ),
        (A._replace(cron="30 4 * * *"), DONE, None, ("later", "cron schedule 30 4 * * *")),
        (A._replace(sync_windows=SyncWindows(("22:00-23:00",))), None, None, ("closed", "waiting for its sync window")),
        (A._replace(after=("busy", "before")), None, None, ("after", "after busy (syncing), before")),
        (A, None, None, ("due", "waiting for a slot")),
        (A, DONE, OperatorRequest(requested=True, made_by="ada"), ("due", "waiting for a slot, requested by ada")),
        (A, DONE, OperatorRequest("paused", made_by="ada"), ("held", "paused by ada")),
        (A, State("launching"), None, ("running", "starting")),
        (A, State("syncing", NOW - 9), None, ("running", "syncing")),
    ],
)
def test_next_shows_what_a_mirror_waits_for(
    mirror: Due, state: State | None, order: OperatorRequest | None, expected: tuple[str, str]
) -> None:
    assert why(mirror, state, order) == expected


def test_next_shows_that_a_mirror_starts_with_the_next_tick() -> None:
    assert why(A, slots=9) == ("due", "starts with the next tick")


def test_on_a_held_worker_each_due_mirror_waits_for_the_release() -> None:
    orders = {"b": OperatorRequest(requested=True, force=True, made_at=NOW, made_by="ada")}
    mirrors = [A, Due("b", HOUR)]
    world = World(Rules("w1", 9, held=True), {"a": DONE}, orders, frozenset("ab"))

    assert decide(mirrors, world, NOW) == Decision([], [], NOW - 60 + HOUR, [], {})
    rows = {row.mirror: (row.waits_for, row.why) for row in rows_of(mirrors, world, NOW)}
    assert rows["a"] == ("later", "every 1h")
    assert rows["b"] == ("due", "waiting for `skipjack release`, requested by ada")


def test_a_tick_for_start_requests_leaves_out_mirrors_that_are_due_by_schedule() -> None:
    orders = {"b": OperatorRequest(requested=True), "c": OperatorRequest(requested=True, force=True)}
    mirrors = [Due(name, HOUR) for name in "abcd"]
    world = World(Rules("w1", 1), {}, orders, frozenset("abcd"))

    due = dict.fromkeys("abcd", NOW)
    assert decide(mirrors, world, NOW, only_requested=True) == Decision(["c"], ["b"], None, [], due)
    assert decide(mirrors, world, NOW) == Decision(["c"], ["b", "a", "d"], None, [], due)


def test_a_release_is_recorded_once(book: Journal) -> None:
    assert book.released() is None

    assert override_store.release(book, "ada", 50.0) is None
    assert override_store.release(book, "bob", 60.0) == Released(50.0, "ada")

    assert book.released() == Released(50.0, "ada")


def test_next_lists_the_most_urgent_mirrors_first() -> None:
    mirrors = [Due(name, HOUR) for name in ("held", "later", "sooner", "asked", "overdue", "run")]
    states = {
        "later": DONE, "sooner": DONE._replace(last_ended_at=NOW - 600), "overdue": DONE._replace(last_ended_at=1.0),
        "run": State("syncing", NOW), "asked": DONE,
    }  # fmt: skip
    orders = {"held": OperatorRequest("disabled"), "asked": OperatorRequest(requested=True)}
    world = World(Rules("w1", 1), states, orders, frozenset(mirror.name for mirror in mirrors))

    rows = rows_of(mirrors, world, NOW)

    assert [row.mirror for row in rows] == ["asked", "overdue", "run", "sooner", "later", "held"]


@pytest.mark.parametrize("name", ["\udcff\udcfe", "x" * 3000, "a\x1b[31m"])
def test_an_operator_name_from_the_environment_is_cut_and_printable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", name)
    assert operator_name().isprintable() and 0 < len(operator_name()) <= 64
    operator_name().encode()
