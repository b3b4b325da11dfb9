"""Which mirrors `skipjack once` waits for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from runner import once
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Ending, Journal, Subject
from runner.tick.tick import Launches
from schemas.states import SUCCESS

A = Subject("a", "rsync://rsync.example.org/a/", True, "a" * 40)
B = A._replace(name="b")
NOW = 4_000_000_000.0
"""After every real clock, so that a run has ended since `once` began."""


def start(book: Journal, subject: Subject) -> int:
    book.begin(book.launch([subject], [], NOW)[subject.name], subject, NOW)
    return 1


def end(book: Journal, subject: Subject) -> int:
    [run] = [each.id for each in book.active() if each.mirror == subject.name]
    book.record_end(run, subject.name, Ending(SUCCESS), NOW)
    return 0


def finished(
    ticks: list[Callable[[Journal], int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> list[str]:
    """Let each tick of `once` do one of these; return the lines about the mirrors that it waited for."""
    layout, left = StateLayout(str(tmp_path)), iter(ticks)
    with journal.opened(layout.journal) as book:
        monkeypatch.setattr(once, "POLL", 0.0)
        monkeypatch.setattr("runner.tick.tick.tick", lambda _layout: Launches(next(left)(book)))
        monkeypatch.setattr("runner.overrides.hold.holds", lambda _layout: False)
        once._run_all_due(layout)
    assert not list(left), "it has ended too early"
    return capsys.readouterr().err.splitlines()


def test_a_queued_mirror_is_waited_for_although_the_run_before_it_ended_just_after_a_tick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def begin(book: Journal) -> int:
        book.launch([], [B], NOW)
        return start(book, A)

    ticks = [begin, lambda book: end(book, A), lambda book: start(book, B), lambda book: end(book, B)]
    assert finished(ticks, tmp_path, monkeypatch, capsys) == ["INFO a: success", "INFO b: success"]


def test_a_mirror_that_no_tick_can_launch_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def begin(book: Journal) -> int:
        book.launch([], [B], NOW)
        return start(book, A)

    ticks = [begin, lambda book: end(book, A), lambda _book: 0]
    assert finished(ticks, tmp_path, monkeypatch, capsys) == ["INFO a: success"]
