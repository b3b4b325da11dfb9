"""The slots of a worker: which run has one, and changes of their number."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from runner.base.mirror_paths import Paths
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Ending, Journal, Subject
from runner.plan import plan
from runner.plan.plan import Header, Planned
from runner.run import run, run_locks
from runner.run.between_attempts import RetryPause
from runner.run.run_locks import Slot
from runner.subprocesses import launch, supervisor
from schemas.errors import SkipjackError
from schemas.mirror_record import Mirror
from schemas.states import FAILED, REFUSED, SUCCESS, SYNCING


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateLayout:
    (tmp_path / "a").mkdir()
    monkeypatch.setattr(run_locks, "PATIENCE", 0.0)
    monkeypatch.setattr(launch, "want_tick", lambda *_words, **_named: None)
    return StateLayout(str(tmp_path))


def header(layout: StateLayout, slots: int) -> Header:
    """Write a plan with that number of slots."""
    made = Header("w1", slots, "a" * 40, "a" * 40, "x", layout.state_dir)
    plan.write(layout.plan, made, [])
    return made


def paths(layout: StateLayout) -> Paths:
    return Paths(f"{layout.state_dir}/a", layout.state_dir, f"{layout.state_dir}/logs")


def test_a_process_that_outlives_its_attempt_occupies_no_slot(layout: StateLayout) -> None:
    """The process may be another user's, which the run cannot end."""
    with run_locks.taken(layout, "a", paths(layout), 1) as held:
        assert held is not None
        with subprocess.Popen(["sleep", "1000"], pass_fds=held.inherited) as child:
            held.slot.give_up()
            assert held.slot.take(), "the run waits for itself"
            child.kill()


def test_slots_in_use_beyond_the_current_number_count(layout: StateLayout) -> None:
    before = [Slot(layout, 4) for _ in range(4)]
    assert all(slot.take() for slot in before)
    before[0].give_up()
    before[1].give_up()

    lowered = Slot(layout, 2)

    assert not lowered.take(), "two runs from before are still at work"
    before[3].give_up()
    assert (lowered.take(), Slot(layout, 2).take()) == (True, False)
    assert Slot(layout, 1002).take(), "a run that is forced"


def begun(book: Journal, name: str) -> int:
    run = book.begin(None, Subject(name, "x", True, "a" * 40), 1000.0)
    assert run is not None
    book.attempt(run, name, SYNCING, 1, 1000.0)
    return run


def rest(
    layout: StateLayout, book: Journal, made: Header, slots: int, steps: list[Callable[[], object]]
) -> list[object]:
    """Let a run of `a` wait between attempts, with a callback at each wait; return its slot and the last state."""
    run = begun(book, "a")
    with run_locks.taken(layout, "a", paths(layout), slots) as held:
        assert held is not None

        def wait(_seconds: float) -> bool:
            steps.pop(0)()
            return False

        stop = SimpleNamespace(wait=wait)
        job = SimpleNamespace(attempt=1, mirror=SimpleNamespace(name="a", retry=2, retry_delay=60))
        found = RetryPause(layout, made, book, run, held, stop)(job, Ending(FAILED, "no"))  # type: ignore[arg-type]
        return [found == held.inherited, steps, book.busy_slots()]


def test_a_lower_number_of_slots_applies_to_a_run_that_waits_for_its_next_attempt(
    layout: StateLayout, capsys: pytest.CaptureFixture[str]
) -> None:
    made = header(layout, 2)
    with journal.opened(layout.journal) as book:
        other = begun(book, "b")
        steps: list[Callable[[], object]] = [
            lambda: header(layout, 1),
            lambda: book.end(other, "b", Ending(SUCCESS), 1001.0),
        ]
        assert rest(layout, book, made, 2, steps) == [True, [], 1]
    assert "no slot is free for its next attempt; waiting for one" in capsys.readouterr().err


@pytest.mark.parametrize(("slots", "beyond"), [(2, 0), (1, 1000)])
def test_a_higher_number_of_slots_applies_as_well_and_a_forced_run_stays_beyond_it(
    layout: StateLayout, slots: int, beyond: int
) -> None:
    made = header(layout, 1)
    with journal.opened(layout.journal) as book:
        begun(book, "b")
        assert rest(layout, book, made, 1 + beyond, [lambda: header(layout, slots)]) == [True, [], 2]


def test_without_a_readable_plan_the_number_of_slots_stays(layout: StateLayout) -> None:
    made = header(layout, 1)
    with journal.opened(layout.journal) as book:
        assert rest(layout, book, made, 1, [lambda: Path(layout.plan).write_text("nonsense")]) == [True, [], 1]


def test_a_launched_run_is_refused_while_processes_of_an_earlier_run_remain(
    layout: StateLayout, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes of another user cannot be ended, so the run must not hold a slot until they end."""
    monkeypatch.chdir(tmp_path)  # what a run changes of its process, the tests' own here
    monkeypatch.setattr(os, "umask", lambda _mask: 0)
    monkeypatch.setattr(supervisor, "adopt_orphans", lambda: None)
    monkeypatch.setattr(supervisor.Stop, "listen", lambda _stop: None)
    mirror = Mirror("a", "w1", "command", "https://x.example/", command="/bin/true")
    planned = Planned(mirror, Paths(f"{tmp_path}/a", str(tmp_path), f"{tmp_path}/log"), "a" * 40)
    plan.write(layout.plan, header(layout, 1), [planned])
    with run_locks.taken(layout, "a", planned.paths, 1) as held:
        assert held is not None
        child = subprocess.Popen(["sleep", "1000"], pass_fds=held.inherited)
    with journal.opened(layout.journal) as book:
        number = book.launch([Subject.of(planned)], [], 1000.0)["a"]

    with child:
        assert run.run(layout, "a", number, run.Allowed()) == 1
        with pytest.raises(SkipjackError, match=r"cannot sync a: processes of an earlier run of a are still running"):
            run.run(layout, "a", None, run.Allowed())
        child.kill()

    with journal.opened(layout.journal) as book:
        ended, busy = book.run(number), book.busy_slots()
    assert ended is not None and (ended.status, busy) == (REFUSED, 0)
    assert f"in its directory: process {child.pid} (sleep), started" in ended.reason
    assert "the next `skipjack tick` ends them, except those of other users" in capsys.readouterr().err
