"""Thousands of due mirrors: what one start costs does not grow with what waits, and ticks do not wait in a row."""

import time
from pathlib import Path

import pytest

from runner import journal, launch, locks, plan, programs, tick, work
from runner.paths import Paths
from runner.places import Places
from runner.plan import Header, Plan, Planned
from schemas.records import Mirror

MIRRORS, SLOTS = 300, 4


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(str(tmp_path))
    mirrors = [
        Planned(
            Mirror(f"m{number:03}", "w1", "command", "https://x.example/", command="/bin/true"),
            Paths(f"/srv/m{number:03}", "/srv", f"/log/m{number:03}"), "a" * 40,
        )
        for number in range(MIRRORS)
    ]  # fmt: skip
    plan.write(made.plan, Header("w1", SLOTS, "a" * 40, "a" * 40, "x", str(tmp_path)), mirrors)
    return made


def test_a_tick_reads_the_definitions_of_what_it_starts_alone(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = Plan.mirror

    def counted(opened: Plan, name: str) -> Planned | None:
        read.append(name)
        return whole(opened, name)

    monkeypatch.setattr(Plan, "mirror", counted)
    monkeypatch.setattr(launch, "launch", lambda *_words: {})
    work.work(places, time.time())
    assert len(read) == MIRRORS, "each is reported once as waiting"
    with journal.opened(places.journal) as book:
        before = book.newest()
        for active in book.active():
            book.end(active.id, active.mirror, journal.Ending("success"), time.time())
    read.clear()

    done = work.work(places, time.time())

    assert (done.launched, len(read)) == (SLOTS, SLOTS)
    with journal.opened(places.journal) as book:
        assert book.newest() == before + 2 * SLOTS, "four ends and four launches are reported, and nothing that waits"


@pytest.mark.parametrize("only_requested", [False, True])
def test_of_many_ticks_one_waits_and_the_others_leave_it_to_that_one(
    places: Places, only_requested: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(programs, "detach", lambda *words: started.append(words))
    with locks.Held(places.lock("program", "tick")), locks.Held(places.next_tick(only_requested=only_requested)):
        for _ in range(50):
            assert tick.tick(places, only_requested=only_requested, patient=False) == 0
            launch.want_tick(places, only_requested=only_requested)
        assert started == []
        launch.want_tick(places, only_requested=not only_requested)
        assert len(started) == 1, "one that waits to do something else is no help"
    assert capsys.readouterr().err == ""
    launch.want_tick(places, only_requested=only_requested)
    assert len(started) == 2


def test_the_one_that_waits_has_yet_to_look(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who leaves it to another one may rely on that: it lets go of its place before it reads anything."""
    waiting: list[bool] = []

    def looked(*_words: object, **_named: object) -> tuple[int, list[str]]:
        waiting.append(locks.is_held(places.next_tick(only_requested=False)))
        return 0, []

    monkeypatch.setattr(tick, "_work", looked)
    tick.tick(places, patient=False)
    assert waiting == [False]
