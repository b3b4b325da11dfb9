"""A tick reports when mirrors run next whose reports lack that or have another time.

They never ran, came back, have another schedule, or an override was lifted.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from runner.base.mirror_paths import Paths
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Subject
from runner.overrides import override_store
from runner.plan import plan
from runner.plan.plan import Header, Planned
from runner.subprocesses import launch
from runner.tick import cycle
from schemas.records import Mirror
from schemas.states import DISABLED, NONE

HOUR = 3600
NEVER_RAN = Mirror("new", "w1", "command", "https://x.example/", cron="0 0 29 2 *", command="/bin/true")


class Site:
    """A worker whose mirrors were synced a minute ago and are not due, with no next run in their reports."""

    def __init__(self, folder: Path, count: int = 1, **changed: Any) -> None:
        self.layout, self.folder = StateLayout(str(folder)), folder
        self.now = time.time()
        self.names = [f"m{number:03}" for number in range(count)]
        template = Mirror("", "w1", "command", "https://x.example/", interval=HOUR, jitter=0, command="/bin/true")
        self.mirrors = [template._replace(name=name, **changed) for name in self.names]
        self.write_plan()
        with journal.opened(self.layout.journal) as book:
            subjects = [Subject(name, "https://x.example/", True, "a" * 40) for name in self.names]
            for name, run in book.launch(subjects, [], self.now - 60).items():
                book.end(run, name, journal.Ending("success"), self.now - 60)

    def write_plan(self, *, held: bool = False) -> None:
        header = Header("w1", 0, "a" * 40, "a" * 40, "x", str(self.folder), held=held)
        paths = Paths(f"{self.folder}/m", str(self.folder), f"{self.folder}/log")
        planned = [Planned(mirror, paths, "a" * 40) for mirror in self.mirrors]
        plan.write(self.layout.plan, header, planned, {"new": self.now})

    def tick(self, **words: Any) -> cycle.CycleResult:
        return cycle.work(self.layout, self.now, **words)

    @property
    def next_runs(self) -> list[float | None]:
        """The next runs that reports have now."""
        with journal.opened(self.layout.journal) as book:
            return [status.next_run_at for status in book.statuses()]

    @property
    def reports(self) -> int:
        with journal.opened(self.layout.journal) as book:
            return book.outbox.newest()


@pytest.mark.parametrize("only_requested", [False, True])
def test_it_is_reported_once(tmp_path: Path, only_requested: bool) -> None:
    site = Site(tmp_path)
    before = site.reports

    site.tick(only_requested=only_requested)
    site.tick(only_requested=only_requested)

    assert site.next_runs == [site.now - 60 + HOUR]
    assert site.reports == before + 1


def test_a_mirror_that_is_due_is_due_now(tmp_path: Path) -> None:
    """Such as one that is enabled again, which a tick for requested mirrors does not start."""
    site = Site(tmp_path, interval=30)
    site.tick(only_requested=True)
    assert site.next_runs == [site.now]


def test_nothing_is_planned_on_a_held_worker(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write_plan(held=True)
    site.tick()
    assert site.next_runs == [None]


def test_a_disabled_mirror_gets_a_next_run_when_it_is_enabled(tmp_path: Path) -> None:
    site = Site(tmp_path)
    subject = Subject("m000", "https://x.example/", True, "a" * 40)
    site.tick()
    with journal.opened(site.layout.journal) as book:
        override_store.override(book, [subject], DISABLED, "ada", site.now)
    site.tick()
    assert site.next_runs == [None]
    with journal.opened(site.layout.journal) as book:
        override_store.lift(book, [subject], site.now)

    site.tick()

    assert site.next_runs == [site.now - 60 + HOUR]


def test_a_run_or_an_operator_that_came_first_counts(tmp_path: Path) -> None:
    site = Site(tmp_path, 2)
    with journal.opened(site.layout.journal) as book:
        subjects = [Subject(name, "https://x.example/", True, "a" * 40) for name in site.names]
        book.begin(None, subjects[0], site.now)
        override_store.override(book, subjects[1:], DISABLED, "ada", site.now)

        book.schedule(dict.fromkeys(site.names, site.now), subjects, site.now)

    assert site.next_runs == [None, None]


def test_a_run_that_ended_since_the_decision_counts(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with journal.opened(site.layout.journal) as book:
        book.schedule({"m000": site.now}, [], site.now - 61)
    assert site.next_runs == [None]


def test_a_mirror_that_waits_for_its_first_run_shows_when_that_is(tmp_path: Path) -> None:
    site = Site(tmp_path, 0)
    site.mirrors = [NEVER_RAN]
    site.write_plan()
    for _ in range(2):
        site.tick()
    with journal.opened(site.layout.journal) as book:
        (status,) = book.statuses()
    assert (status.mirror, status.status, status.upstream) == ("new", NONE, "https://x.example/")
    assert status.next_run_at is not None
    assert time.gmtime(status.next_run_at)[1:5] == (2, 29, 0, 0)
    assert site.reports == 1


def test_a_mirror_that_is_disabled_before_its_first_run_has_no_next_run(tmp_path: Path) -> None:
    site = Site(tmp_path, 0)
    with journal.opened(site.layout.journal) as book:
        subject = Subject("new", "https://x.example/", True, "a" * 40)
        override_store.override(book, [subject], DISABLED, "ada", site.now)
        book.schedule({"new": site.now}, [subject], site.now)
    assert site.next_runs == [None]


def test_another_schedule_is_reported_once_at_the_next_tick(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.tick()
    before = site.reports
    for seconds in (7200, 1800, 1800):
        site.mirrors = [site.mirrors[0]._replace(interval=seconds)]
        site.write_plan()
        site.tick()
        assert site.next_runs == [site.now - 60 + seconds]
    assert site.reports == before + 2


def test_thousands_are_reported_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path, 25)
    monkeypatch.setattr(cycle, "AT_ONCE", 10)
    monkeypatch.setattr(launch, "is_tick_wanted", lambda _layout: True)

    assert [site.tick().finished for _ in range(3)] == [False, False, True]

    assert site.next_runs == [site.now - 60 + HOUR] * 25
