"""When does a mirror run again whose upstream was unreachable or had too many clients?"""

import random
import sqlite3
from pathlib import Path

import pytest

from runner.journal import journal
from runner.journal.journal import Ending, Journal, Subject
from runner.journal.migrations import MIGRATIONS
from runner.plan.plan import Due
from runner.plan.schedule import (
    CLOSED,
    DUE,
    HELD,
    LATER,
    RUNNING,
    OperatorRequest,
    Rules,
    State,
    World,
    count_failures,
    decide,
    due_at,
    next_run_at,
    outlook,
    retry_at,
)
from runner.run.log_errors import is_unreached
from runner.tick.next_runs import rows_of
from schemas.records import SyncWindows
from schemas.states import FAILED, INTERRUPTED, LAUNCH_FAILED, PRE_SYNCING, QUEUED, REFUSED, SUCCESS, SYNCING, TIMED_OUT

from .syncing import Site

NOW = 1_800_000_000.0
"""A Friday, 2027-01-15, 08:00 UTC."""

MINUTE, HOUR, DAY = 60, 3600, 86400
RULES = Rules("w1", 4)
MIRROR = Due("a", 6 * HOUR, retry_after_failure=10 * MINUTE)


def failed(*ends: bool, at: float = NOW) -> State:
    """Return the state after failed runs, the last one at `at`; each argument says whether a run was unreached."""
    state = State("none")
    for unreached in ends:
        state = count_failures(state, FAILED, unreached=unreached)
    return state._replace(status=FAILED, last_started_at=at - 5, last_ended_at=at)


def pauses(mirror: Due, runs: int) -> list[float]:
    """Return the pauses in minutes after each of that number of failures in a row to reach the upstream."""
    return [(due_at(mirror, failed(*[True] * n), RULES, NOW) - NOW) / MINUTE for n in range(1, runs + 1)]


def test_pauses_double_up_to_the_interval_and_then_follow_the_back_off() -> None:
    assert pauses(MIRROR, 10) == [10, 20, 40, 80, 160, 320, 6 * 60, 12 * 60, 24 * 60, 24 * 60]
    assert pauses(Due("a", HOUR, retry_after_failure=40 * MINUTE), 3) == [40, 60, 120]
    assert pauses(Due("a", HOUR, retry_after_failure=40 * MINUTE, backoff_limit=HOUR), 4) == [40, 60, 60, 60]
    assert pauses(MIRROR, 400)[-1] == 24 * 60


@pytest.mark.parametrize("pause", [0, HOUR, DAY])
def test_a_pause_of_zero_or_at_least_the_interval_changes_nothing(pause: int) -> None:
    mirror = Due("a", HOUR, retry_after_failure=pause)
    assert pauses(mirror, 5) == [60, 120, 240, 480, 480]
    assert retry_at(mirror, failed(True), RULES) == float("inf")


def test_only_failures_to_reach_the_upstream_cause_an_early_run() -> None:
    for ends, wait in (
        ([False], 6 * HOUR),
        ([True, False], 12 * HOUR),
        ([False, True], 10 * MINUTE),
        ([True, True, True, False], 12 * HOUR),  # the three in a row counted once
        ([True, True, False, True], 10 * MINUTE),
        ([False, *[True] * 7], 12 * HOUR),
    ):
        assert due_at(MIRROR, failed(*ends), RULES, NOW) - NOW == wait, ends


def test_a_success_ends_the_row_and_an_interruption_does_not() -> None:
    state = failed(True, True)
    assert count_failures(state, SUCCESS)._replace(status=FAILED) == failed()._replace(
        last_started_at=state.last_started_at, last_ended_at=NOW, status=FAILED
    )
    assert count_failures(state, INTERRUPTED) == state
    assert count_failures(state, LAUNCH_FAILED) == state._replace(failures=2)
    for status in (TIMED_OUT, REFUSED, FAILED):
        assert count_failures(state, status) == state._replace(failures=2, unreached=0)
    assert failed(True, True, False, True).failed_runs == 3
    assert failed(*[True] * 9).failed_runs == 9


def test_an_early_run_may_come_before_a_fixed_time() -> None:
    daily = MIRROR._replace(cron="0 12 * * *")  # in four hours
    assert pauses(daily, 7) == [10, 20, 40, 80, 160, 240, 240]
    assert pauses(daily._replace(retry_after_failure=0), 2) == [240, 240]


def test_an_early_run_has_the_jitter_of_the_mirror_and_is_never_too_early() -> None:
    late = [due_at(MIRROR._replace(name=f"m{n}", jitter=DAY), failed(True), RULES, NOW) - NOW for n in range(1000)]
    assert 10 * MINUTE <= min(late) < 10 * MINUTE + 1
    assert 10 * MINUTE + 58 < max(late) < 11 * MINUTE


def judged(mirror: Due, state: State, now: float, order: OperatorRequest | None = None) -> tuple[str, float | None]:
    world = World(RULES, {"a": state}, {"a": order} if order else {}, frozenset("a"))
    found = outlook(mirror, world, now)
    return found.kind, found.at


def test_windows_overrides_and_queues_apply_to_an_early_run() -> None:
    night = MIRROR._replace(sync_windows=SyncWindows(("22:00-06:00",)))
    state, at = failed(True), NOW + 10 * MINUTE
    assert judged(MIRROR, state, NOW) == (LATER, at)
    assert judged(MIRROR, state, at) == (DUE, at)
    assert judged(MIRROR, state._replace(status=QUEUED), at + HOUR) == (DUE, at)
    assert judged(night, state, NOW) == (LATER, NOW + 14 * HOUR)
    assert judged(night, state, at) == (CLOSED, NOW + 14 * HOUR)
    assert judged(MIRROR, state, at, OperatorRequest("paused")) == (HELD, None)
    assert judged(MIRROR, state, NOW + 1, OperatorRequest(requested=True, made_at=NOW + 1)) == (DUE, NOW + 1)
    assert next_run_at(MIRROR, state, RULES, NOW) == at
    assert next_run_at(night, state, RULES, NOW) == NOW + 14 * HOUR


def test_next_shows_why_a_mirror_is_due_before_its_interval() -> None:
    def why(state: State, mirror: Due = MIRROR) -> str:
        return rows_of([mirror], World(RULES, {"a": state}, {}, frozenset("a")), NOW)[0].why

    words = "early retry: its upstream was unreachable or had too many clients"
    assert why(failed(True)) == words
    assert why(failed(False, True, True, True)) == f"{words}, 3 times in a row"
    assert why(failed(*[True] * 8)) == "backing off after 8 failed runs"
    assert why(failed(True, True, False)) == "backing off after 2 failed runs"
    daily = MIRROR._replace(cron="5 8 * * *")
    assert why(failed(True), daily) == "cron schedule 5 8 * * *"


def test_an_early_run_is_neither_too_early_nor_later_than_the_next_run_without_it() -> None:
    chance, early = random.Random(20270115), 0
    for _case in range(3000):
        mirror = Due(
            "a", chance.randint(2, 2000) * MINUTE, jitter=chance.choice((0, 120, 7200)),
            cron=chance.choice(("", "7 3 * * 2")),
            retry_after_failure=chance.randint(1, 300) * MINUTE, backoff_limit=chance.choice((None, HOUR, 3 * DAY)),
        )  # fmt: skip
        state = State("none")
        for _run in range(chance.randint(1, 25)):
            ended = state._replace(last_started_at=NOW - 5, last_ended_at=NOW)
            status = chance.choice((FAILED, FAILED, FAILED, TIMED_OUT, INTERRUPTED, SUCCESS))
            unreached = status == FAILED and chance.random() < 0.8
            state = count_failures(ended, status, unreached=unreached)._replace(status=status)
        found, planned = (due_at(each, state, RULES, NOW) for each in (mirror, mirror._replace(retry_after_failure=0)))
        assert found <= planned
        if status == FAILED and unreached:
            early += found < planned
            assert found >= min(NOW + mirror.retry_after_failure, planned, NOW + mirror.interval)
        elif not state.unreached:
            assert found == due_at(mirror._replace(retry_after_failure=0), state, RULES, NOW)
    assert early > 300


# A run that waits between two attempts


def test_a_run_that_waits_for_its_next_attempt_has_no_slot_until_its_pause_is_over() -> None:
    mirrors = [Due(name, HOUR) for name in "abc"]
    waits = State(PRE_SYNCING, NOW - 60, NOW - HOUR, next_attempt_at=NOW + 10)
    world = World(Rules("w1", 1), {"a": waits}, {}, frozenset("abc"))

    assert decide(mirrors, world, NOW)[:4] == (["b"], ["c"], None, [])
    assert decide(mirrors, world, NOW + 10)[:4] == ([], ["b", "c"], None, []), "the next slot is for its attempt"
    assert outlook(mirrors[0], world, NOW) == (RUNNING, NOW + 10, ())
    rows = {now: rows_of(mirrors, world, now) for now in (NOW, NOW + 10)}
    told = {now: next(row.why for row in each if row.mirror == "a") for now, each in rows.items()}
    assert told == {NOW: "waiting for its next attempt", NOW + 10: "waiting for a slot for its next attempt"}


def test_a_window_that_stops_runs_stops_one_that_waits_for_its_next_attempt() -> None:
    mirror = Due("a", HOUR, sync_windows=SyncWindows(("22:00-06:00",), stop_running=True))
    waits = State(PRE_SYNCING, NOW - 4 * HOUR, next_attempt_at=NOW + 10)
    assert decide([mirror], World(RULES, {"a": waits}, {}, frozenset("a")), NOW).stop == ["a"]


# What is such a failure


@pytest.mark.parametrize(
    "line",
    [
        "@ERROR: max connections (50) reached -- try again later",
        "@ERROR: Connection limit exceeded, please try later",
        "@ERROR: Sorry, too many clients, please come back",
        "rsync: [Receiver] failed to connect to up.example.org (192.0.2.1): Connection timed out (110)",
        "rsync: getaddrinfo: up.example.org 873: Temporary failure in name resolution",
        "rsync: did not see server greeting",
        "rsync: connection unexpectedly closed (0 bytes received so far) [Receiver]",
        "ssh: connect to host up.example.org port 22: No route to host",
        "ssh: Could not resolve hostname up.example.org: Name or service not known",
        "kex_exchange_identification: Connection closed by remote host",
        "ssh: connect to host 127.0.0.1 port 59999: Connection refused",
        "curl: (6) Could not resolve host: up.example.org",
        "curl: (7) Failed to connect to 127.0.0.1 port 59999 after 0 ms: Couldn't connect to server",
        "curl: (22) The requested URL returned error: 429",
        "fatal: unable to access 'https://up.example.org/x/': Failed to connect to up.example.org port 443",
        "2027-01-01 00:00:00 ERROR 503: Service Unavailable.",
        "wget: unable to resolve host address 'up.example.org'",
        "Connecting to 127.0.0.1:59999... failed: Connection refused.",
        "ConnectionRefusedError: [Errno 111] Connection refused",
        "mirror: Access failed: 421 Too many connections from this address",
    ],
)
def test_lines_that_mean_an_unreachable_upstream_are_recognized(line: str) -> None:
    assert is_unreached(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "@ERROR: Unknown module 'debian'",
        "@ERROR: auth failed on module debian",
        "@ERROR: access denied to debian from localhost (127.0.0.1)",
        "rsync: connection unexpectedly closed (48211 bytes received so far) [receiver]",
        "rsync: [receiver] write failed on \"x\": No space left on device (28)",
        "me@up.example.org: Permission denied (publickey).",
        "Host key verification failed.",
        "curl: (22) The requested URL returned error: 404",
        "curl: (23) Failure writing output to destination",
        "wget: ERROR 404: Not Found.",
        "fatal: repository 'https://up.example.org/x/' not found",
        "ModuleNotFoundError: No module named 'requests'",
    ],
)  # fmt: skip
def test_other_lines_do_not_mean_an_unreachable_upstream(line: str) -> None:
    assert not is_unreached(line)


@pytest.mark.parametrize(
    ("command", "unreached"),
    [
        ("exit 75", True),
        ("echo 'curl: (7) Failed to connect to x' >&2; exit 7", True),
        ("exit 7", False),
        ("echo 'fatal: nothing there' >&2; exit 128", False),
        ("echo 'curl: (7) Failed to connect to x' >&2", False),
    ],
)
def test_a_command_reports_an_unreachable_upstream_by_its_exit_code_or_log(
    tmp_path: Path, command: str, unreached: bool
) -> None:
    ending = Site(tmp_path, "").sync(provider="command", command=f'sh -c "{command}"')
    assert ending.unreached == unreached


# The journal

SUBJECT = Subject("debian", "rsync://rsync.example.org/debian/", True, "a" * 40)


def end(book: Journal, status: str, *, unreached: bool = False) -> tuple[int, int]:
    """Record one more run with that end; return the failures that the journal counts after it."""
    run = book.begin(None, SUBJECT, NOW)
    assert run is not None
    book.end(run, "debian", Ending(status, unreached=unreached), NOW + 5)
    state = book.states()["debian"]
    return state.failures, state.unreached


def test_the_journal_counts_failures_to_reach_the_upstream(tmp_path: Path) -> None:
    path = str(tmp_path / "journal.db")
    with journal.opened(path) as book:
        assert [end(book, FAILED, unreached=True) for _run in range(3)] == [(1, 1), (1, 2), (1, 3)]
        assert end(book, INTERRUPTED) == (1, 3)
    with journal.opened(path) as book:
        assert end(book, FAILED, unreached=True) == (1, 4)
        assert end(book, FAILED) == (2, 0)
        assert end(book, FAILED, unreached=True) == (3, 1)
        assert end(book, SUCCESS) == (0, 0)


def test_a_journal_of_an_earlier_release_has_no_failures_to_reach_the_upstream(tmp_path: Path) -> None:
    path = str(tmp_path / "old.db")
    before = next(number for number, step in enumerate(MIGRATIONS) if "unreached" in step)
    connection = sqlite3.connect(path)
    for step in MIGRATIONS[:before]:
        connection.executescript(step)
    connection.execute("INSERT INTO identity (journal, acknowledged) VALUES ('x', 0)")
    columns = "name, upstream, is_master, status, last_ended_at, failures"
    connection.execute(f"INSERT INTO mirror ({columns}) VALUES ('debian', 'x', 1, 'failed', 50.0, 3)")
    connection.execute(f"PRAGMA user_version={before}")
    connection.commit()
    connection.close()
    with journal.opened(path) as book:
        assert book.states()["debian"] == State(FAILED, last_ended_at=50.0, failures=3)
        assert end(book, FAILED, unreached=True) == (4, 1)


def test_a_run_between_two_attempts_reports_why_and_has_no_slot(tmp_path: Path) -> None:
    with journal.opened(str(tmp_path / "journal.db")) as book:
        run = book.begin(None, SUBJECT, NOW)
        assert run is not None
        book.attempt(run, "debian", SYNCING, 1, NOW)
        assert (book.busy_slots(), book.busy_slots(besides="debian")) == (1, 0)

        book.wait_between_attempts(run, "debian", NOW + 60, "attempt 1 of 2 failed: no", NOW + 1)

        assert (book.busy_slots(), [each.status for each in book.active()]) == (0, [PRE_SYNCING])
        assert book.states()["debian"].next_attempt_at == NOW + 60
        other = book.begin(None, SUBJECT._replace(name="ubuntu"), NOW + 2)
        assert other is not None
        assert not book.claim_slot("debian", 1)
        book.end(other, "ubuntu", Ending(SUCCESS), NOW + 60)
        assert book.claim_slot("debian", 1)
        assert (book.busy_slots(), book.states()["debian"].next_attempt_at) == (1, None)

        book.attempt(run, "debian", SYNCING, 2, NOW + 61)
        told = [each for report in book.outbox.oldest(100, 10_000_000) for each in report["statuses"]]
        steps = [(each["status"], each["run"]["reason"]) for each in told if each["mirror"] == "debian"]
        assert steps[-3:] == [(SYNCING, ""), (PRE_SYNCING, "attempt 1 of 2 failed: no"), (SYNCING, "")]


def test_counting_slots_reads_only_active_runs(tmp_path: Path) -> None:
    """Each run that waits for a slot counts them every second."""
    path, plans = str(tmp_path / "journal.db"), []
    with journal.opened(path) as book, book.together() as database:
        queries: list[str] = []
        database.set_trace_callback(queries.append)
        assert (book.busy_slots("debian"), book.waiting_runs()) == (0, 0)
        database.set_trace_callback(None)
        for query in [each for each in queries if each.startswith("SELECT count")]:
            plans += [row["detail"] for row in database.execute(f"EXPLAIN QUERY PLAN {query}")]
    steps = [step.split(" (")[0] for step in plans if "FOR" not in step and "TEMP" not in step]
    assert steps == ["SEARCH run USING INDEX run_status", "SEARCH mirror USING PRIMARY KEY"] * 2, plans


def test_a_claim_without_a_free_slot_is_taken_back(tmp_path: Path) -> None:
    with journal.opened(str(tmp_path / "journal.db")) as book:
        run = book.begin(None, SUBJECT, NOW)
        assert run is not None
        book.wait_between_attempts(run, "debian", NOW + 60, "attempt 1 of 2 failed: no", NOW + 1)
        assert book.claim_slot("debian", 1)
        book.return_slot("debian", NOW + 61)
        assert (book.busy_slots(), book.states()["debian"].next_attempt_at) == (0, NOW + 61)


def test_a_run_that_dies_between_two_attempts_is_interrupted(tmp_path: Path) -> None:
    with journal.opened(str(tmp_path / "journal.db")) as book:
        run = book.begin(None, SUBJECT, NOW)
        assert run is not None
        book.wait_between_attempts(run, "debian", NOW + DAY, "attempt 1 of 2 failed: no", NOW + 1)
        (active,) = book.active()
        assert book.recover(active, Ending(INTERRUPTED, "it is gone"), NOW + 2)
        state, ended = book.states()["debian"], book.run(run)
        assert (state.status, state.next_attempt_at) == (INTERRUPTED, None)
        assert ended is not None and ended.reason == "it is gone"


def test_a_journal_of_an_earlier_release_has_no_waiting_runs(tmp_path: Path) -> None:
    path = str(tmp_path / "old.db")
    before = next(number for number, step in enumerate(MIGRATIONS) if "next_attempt_at" in step)
    connection = sqlite3.connect(path)
    for step in MIGRATIONS[:before]:
        connection.executescript(step)
    connection.execute("INSERT INTO identity (journal, acknowledged) VALUES ('x', 0)")
    connection.execute("INSERT INTO run (id, mirror, status) VALUES (1, 'debian', 'syncing')")
    connection.execute(
        "INSERT INTO mirror (name, upstream, is_master, status, run) VALUES ('debian', 'x', 1, 'syncing', 1)"
    )
    connection.execute(f"PRAGMA user_version={before}")
    connection.commit()
    with journal.opened(path) as book:
        assert (book.busy_slots(), book.states()["debian"]) == (1, State(SYNCING))
    connection.close()
