"""Thousands of due mirrors: a start costs the same however many wait, and ticks do not queue up."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runner.base import locks, start_requests
from runner.base.mirror_paths import Paths
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Subject
from runner.plan import plan, schedule
from runner.plan.plan import Header, Plan, Planned
from runner.subprocesses import launch, spawn, stopping
from runner.tick import cycle, next_runs, tick
from schemas import serialization, sqlite_database
from schemas.records import Mirror, Repository, RunnerSettings
from tests.e2e.parts import wait_until

MIRRORS, SLOTS = 300, 4


@pytest.fixture
def layout(tmp_path: Path) -> StateLayout:
    made = StateLayout(str(tmp_path))
    mirrors = [
        Planned(
            Mirror(f"m{number:03}", "w1", "command", "https://x.example/", command="/bin/true", interval=60, jitter=0),
            Paths(f"/srv/m{number:03}", "/srv", f"/log/m{number:03}"), "a" * 40,
        )
        for number in range(MIRRORS)
    ]  # fmt: skip
    plan.write(made.plan, Header("w1", SLOTS, "a" * 40, "a" * 40, "x", str(tmp_path)), mirrors)
    return made


def test_a_tick_reads_only_the_definitions_of_mirrors_that_it_starts(
    layout: StateLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    whole = Plan.mirror

    def counted(opened: Plan, name: str) -> Planned | None:
        read.append(name)
        return whole(opened, name)

    monkeypatch.setattr(Plan, "mirror", counted)
    monkeypatch.setattr(launch, "launch", lambda *_words: {})
    cycle.work(layout, time.time())
    assert len(read) == MIRRORS, "each is reported once as waiting"
    with journal.opened(layout.journal) as book:
        before, now = book.outbox.newest(), time.time()
        for active in book.active():
            book.end(active.id, active.mirror, journal.Ending("success", next_run_at=now + 60), now)
    read.clear()

    done = cycle.work(layout, time.time())

    assert (done.started, len(read)) == (SLOTS, SLOTS)
    with journal.opened(layout.journal) as book:
        assert book.outbox.newest() == before + 2 * SLOTS, (
            "four ends and four launches are reported, and nothing that waits"
        )


def test_a_tick_that_starts_nothing_does_not_wait_for_another_writer(
    layout: StateLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "launch", lambda *_words: {})
    cycle.work(layout, time.time())
    monkeypatch.setattr(sqlite_database, "PATIENCE", 0.0)
    with journal.opened(layout.journal) as other, other.together():
        done = cycle.work(layout, time.time())
    assert (done.started, len(done.active)) == (0, SLOTS)


def test_runs_are_started_before_queued_mirrors_are_recorded(
    layout: StateLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With 20,000 mirrors the first run starts within a second, and its records wait for no long transaction."""
    monkeypatch.setattr(cycle, "AT_ONCE", 100)
    at_start: list[set[str]] = []
    sizes: list[int] = []
    whole = journal.Journal.launch

    def started(*_words: object) -> dict[str, str]:
        with journal.opened(layout.journal) as book:
            at_start.append({state.status for state in book.states().values()})
        return {}

    def recorded(book: journal.Journal, now: list[Subject], waiting: list[Subject], *words: Any, **named: Any) -> Any:
        sizes.append(len(waiting))
        if sizes == [0, 100]:  # one that has been synced in between is not due any more
            run = book.begin(None, waiting[0], words[0])
            assert run is not None
            book.end(run, waiting[0].name, journal.Ending("success"), words[0] + 1)
            synced.append(waiting[0].name)
        return whole(book, now, waiting, *words, **named)

    synced: list[str] = []
    monkeypatch.setattr(launch, "launch", started)
    monkeypatch.setattr(journal.Journal, "launch", recorded)

    cycle.work(layout, time.time())

    assert (at_start, sizes) == ([{"launching"}], [0, 100, 100, 96])
    with journal.opened(layout.journal) as book:
        states = book.states()
        assert [name for name, state in states.items() if state.status == "success"] == synced
        assert sum(state.status == "queued" for state in states.values()) == MIRRORS - SLOTS - 1


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """Everything that ticks of this process do, in order: `launched` or `queued`, and the mirrors."""
    found: list[tuple[str, list[str]]] = []
    whole = journal.Journal.launch

    def recorded(book: journal.Journal, now: list[Subject], waiting: list[Subject], *words: Any, **named: Any) -> Any:
        done = whole(book, now, waiting, *words, **named)
        found.extend((kind, [each.name for each in some]) for kind, some in (("launched", now), ("queued", waiting)))
        found[:] = [event for event in found if event[1]]
        return done

    monkeypatch.setattr(cycle, "AT_ONCE", 100)
    monkeypatch.setattr(launch, "launch", lambda *_words: {})
    monkeypatch.setattr(journal.Journal, "launch", recorded)
    return found


def _names(first: int, last: int) -> list[str]:
    return [f"m{number:03}" for number in range(first, last)]


def _end_run(layout: StateLayout, name: str) -> None:
    with journal.opened(layout.journal) as book:
        (active,) = [each for each in book.active() if each.mirror == name]
        book.end(active.id, name, journal.Ending("success"), time.time())


@pytest.mark.parametrize("request_of", ["tick", "start"])
def test_a_slot_that_becomes_free_is_filled_before_the_rest_of_the_queue_is_recorded(
    layout: StateLayout, events: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch, request_of: str
) -> None:
    wanted = launch.is_tick_wanted

    def ended_meanwhile(found: StateLayout) -> bool:
        if len(events) == 2:
            _end_run(layout, "m002")
            start_requests.leave(layout, request_of)  # as a run does when it ends
        return wanted(found)

    monkeypatch.setattr(launch, "is_tick_wanted", ended_meanwhile)

    assert tick.tick(layout).started == SLOTS + 1

    assert events == [
        ("launched", _names(0, 4)),
        ("queued", _names(4, 104)),
        ("launched", ["m004"]),
        ("queued", _names(104, 204)),
        ("queued", _names(204, 300)),
    ]
    assert not start_requests.is_open(layout, request_of), "systemd would start one more tick for it"


def test_a_tick_leaves_the_rest_of_the_queue_to_one_that_waits(
    layout: StateLayout, events: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [sys.executable, "-I", "-S", str(Path(tick.__file__).with_name("entry.py")), "tick", str(layout.state_dir)]
    others: list[subprocess.Popen[bytes]] = []
    wanted = launch.is_tick_wanted

    def joined(found: StateLayout) -> bool:
        if not others:
            others.append(subprocess.Popen(words))
            wait_until(lambda: locks.is_held(layout.next_tick(only_requested=False)), "another tick waits")
        return wanted(found)

    monkeypatch.setattr(launch, "is_tick_wanted", joined)

    assert tick.tick(layout, patient=False).started == SLOTS

    assert events == [("launched", _names(0, 4)), ("queued", _names(4, 104))]
    assert others[0].wait(60) == 0
    with journal.opened(layout.journal) as book:
        statuses = {name: state.status for name, state in book.states().items()}
    assert statuses == dict.fromkeys(_names(0, 4), "launching") | dict.fromkeys(_names(4, MIRRORS), "queued")


def test_a_tick_for_all_mirrors_goes_on_after_one_for_requested_mirrors(
    layout: StateLayout, events: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one does not record the queue, so it must not be left to it."""
    waiting: list[locks.Held] = []
    wanted = launch.is_tick_wanted

    def joined(found: StateLayout) -> bool:
        if waiting:
            return wanted(found)
        waiting.append(locks.Held(layout.next_tick(only_requested=True)))
        with waiting[0]:
            return wanted(found)

    monkeypatch.setattr(launch, "is_tick_wanted", joined)

    tick.tick(layout, patient=False)

    assert events[1:] == [
        ("queued", _names(4, 104)), ("queued", _names(104, 204)), ("queued", _names(204, MIRRORS))
    ]  # fmt: skip


def test_a_tick_that_takes_long_leaves_the_rest_of_the_queue_to_a_new_one(
    layout: StateLayout, events: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that end all the time must not keep it until systemd ends it."""
    started: list[tuple[object, ...]] = []
    monkeypatch.setattr(tick, "LONGEST", 0.0)
    monkeypatch.setattr(launch, "is_tick_wanted", lambda _layout: True)
    monkeypatch.setattr(spawn, "detach", lambda *words: started.append(words))

    tick.tick(layout)

    assert events == [("launched", _names(0, 4)), ("queued", _names(4, 104))]
    assert started == [(spawn.lean("tick", layout.state_dir), layout.messages)]


def test_a_tick_that_was_killed_while_it_recorded_the_queue_is_completed_by_the_next(
    layout: StateLayout, events: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(_layout: StateLayout) -> bool:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(launch, "is_tick_wanted", killed)
        tick.tick(layout)
    assert events == [("launched", _names(0, 4)), ("queued", _names(4, 104))]

    assert tick.tick(layout).started == 0

    assert events[2:] == [("queued", _names(104, 204)), ("queued", _names(204, MIRRORS))]


def test_runs_are_stopped_before_queued_mirrors_are_recorded(
    layout: StateLayout, events: list[tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = schedule.decide
    monkeypatch.setattr(schedule, "decide", lambda *words, **named: whole(*words, **named)._replace(stop=["m299"]))
    monkeypatch.setattr(stopping, "stop", lambda _layout, names: events.append(("stopped", list(names))))

    tick.tick(layout)

    assert events[:3] == [("launched", _names(0, 4)), ("stopped", ["m299"]), ("queued", _names(4, 104))]


def test_next_decodes_only_definitions_with_a_memory_limit(
    layout: StateLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plan.opened(layout.plan) as opened:
        header, mirrors = opened.header, opened.mirrors()
    first = mirrors[0]._replace(mirror=mirrors[0].mirror._replace(memory_limit=2**30))
    plan.write(layout.plan, header, [first, *mirrors[1:]])
    decoded: list[str] = []
    whole = serialization.decode_mirror

    def counted(text: str) -> Mirror:
        found = whole(text)
        decoded.append(found.name)
        return found

    monkeypatch.setattr(serialization, "decode_mirror", counted)
    url = Repository("file:///nowhere")
    settings = RunnerSettings("w1", url, "/srv", state_dir=str(tmp_path), run_dir=str(tmp_path / "run"))
    next_runs.upcoming(settings, as_json=False)
    assert decoded == ["m000"]


@pytest.mark.parametrize("only_requested", [False, True])
def test_of_many_ticks_one_waits_and_the_others_end(
    layout: StateLayout, only_requested: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(spawn, "detach", lambda *words: started.append(words))
    with locks.Held(layout.lock("program", "tick")), locks.Held(layout.next_tick(only_requested=only_requested)):
        for _ in range(50):
            assert tick.tick(layout, only_requested=only_requested, patient=False).started == 0
            launch.want_tick(layout, only_requested=only_requested)
        assert started == []
        launch.want_tick(layout, only_requested=not only_requested)
        assert len(started) == 1, "one that waits to do something else does not help"
    assert capsys.readouterr().err == ""
    launch.want_tick(layout, only_requested=only_requested)
    assert len(started) == 2


def test_the_waiting_tick_has_read_nothing_yet(layout: StateLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other ticks rely on it to see their changes, so it releases its place before it reads anything."""
    waiting: list[bool] = []

    def looked(*_words: object, **_named: object) -> cycle.CycleResult:
        waiting.append(locks.is_held(layout.next_tick(only_requested=False)))
        return cycle.CycleResult(0, 0, [], [], None)

    monkeypatch.setattr(tick, "_work", looked)
    tick.tick(layout, patient=False)
    assert waiting == [False]


def test_a_tick_counts_runs_that_it_could_not_start_apart(layout: StateLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "launch", lambda _layout, _run_dir, runs, _mirrors: dict.fromkeys(list(runs)[:1], "x"))
    assert tick.tick(layout) == (SLOTS - 1, 1)
