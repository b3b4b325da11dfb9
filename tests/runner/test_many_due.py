"""Thousands of due mirrors: a start costs the same however many wait, and ticks do not queue up."""

import time
from pathlib import Path
from typing import Any

import pytest

from runner.base import locks
from runner.base.mirror_paths import Paths
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Subject
from runner.plan import plan
from runner.plan.plan import Header, Plan, Planned
from runner.subprocesses import launch, spawn
from runner.tick import cycle, next_runs, tick
from schemas import serialization
from schemas.records import Mirror, Repository, RunnerSettings

MIRRORS, SLOTS = 300, 4


@pytest.fixture
def layout(tmp_path: Path) -> StateLayout:
    made = StateLayout(str(tmp_path))
    mirrors = [
        Planned(
            Mirror(f"m{number:03}", "w1", "command", "https://x.example/", command="/bin/true"),
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
        before = book.outbox.newest()
        for active in book.active():
            book.end(active.id, active.mirror, journal.Ending("success"), time.time())
    read.clear()

    done = cycle.work(layout, time.time())

    assert (done.launched, len(read)) == (SLOTS, SLOTS)
    with journal.opened(layout.journal) as book:
        assert book.outbox.newest() == before + 2 * SLOTS, (
            "four ends and four launches are reported, and nothing that waits"
        )


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

    monkeypatch.setattr("runner.plan.plan.decode_mirror", counted)
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
            assert tick.tick(layout, only_requested=only_requested, patient=False) == 0
            launch.want_tick(layout, only_requested=only_requested)
        assert started == []
        launch.want_tick(layout, only_requested=not only_requested)
        assert len(started) == 1, "one that waits to do something else is no help"
    assert capsys.readouterr().err == ""
    launch.want_tick(layout, only_requested=only_requested)
    assert len(started) == 2


def test_the_waiting_tick_has_read_nothing_yet(layout: StateLayout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other ticks rely on it to see their changes, so it releases its place before it reads anything."""
    waiting: list[bool] = []

    def looked(*_words: object, **_named: object) -> tuple[int, list[str]]:
        waiting.append(locks.is_held(layout.next_tick(only_requested=False)))
        return 0, []

    monkeypatch.setattr(tick, "_work", looked)
    tick.tick(layout, patient=False)
    assert waiting == [False]
