"""`skipjack takeover`: a worker that comes after one of tunasync continues with the states of its mirrors.

Without it every mirror would be due at once, and pages would show that it was never synced. Only mirrors without runs
of their own get a state, and no run is recorded: those of tunasync were not ours.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import NamedTuple

from runner.base.mirror_paths import is_missing_or_empty
from runner.base.output import finish_unread, say
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Journal, Subject
from runner.overrides import hold
from runner.plan import plan, schedule
from runner.plan.plan import Plan, Planned
from runner.plan.schedule import LATER, World
from runner.subprocesses import launch
from runner.takeover import job_state, old_manager
from runner.takeover.job_state import TakenState
from runner.takeover.old_manager import OldJob, OldManager
from schemas import wakeup
from schemas.problems import shown
from schemas.records import RunnerSettings
from schemas.states import ACTIVE
from schemas.units import format_duration, format_size

REASON = "taken over from tunasync"
"""The reason of an override that was one there."""


class MirrorResult(NamedTuple):
    """What became of a mirror: whether its state was taken, in words; and what a person has to do, or empty."""

    name: str
    taken: bool
    words: str
    todo: str = ""


def take_over(settings: RunnerSettings, old: OldManager, made_by: str, *, dry_run: bool) -> int:
    """Take over the states of this worker's mirrors, and print each; with `dry_run` change nothing.

    Return the exit code, which is 1 if a person has to do something. SkipjackError without a plan or a valid list.
    """
    finish_unread()  # all states must be taken, also if the output has no reader any more
    layout = StateLayout(settings.state_dir)
    with plan.opened(layout.plan) as opened:
        jobs = old_manager.jobs(old)  # before the journal is opened: it may take a minute
        now = time.time()
        opening: AbstractContextManager[Journal] = (journal.copied if dry_run else journal.opened)(layout.journal)
        with opening as book:
            with book.together():
                takeover = _Takeover(opened, book, made_by, now)
                results = [takeover.mirror(planned, jobs) for planned in opened.mirrors()]
            next_runs = _next_runs(opened, book, now)
        run_dir = opened.header.run_dir
    _print(results, next_runs, [name for name in jobs if name not in takeover.used], dry_run=dry_run)
    if not dry_run:
        wakeup.send(run_dir, wakeup.COURIER)
        launch.want_tick(layout)
    return 1 if any(result.todo for result in results) else 0


class _Takeover:
    """The changes of one transaction."""

    def __init__(self, opened: Plan, book: Journal, made_by: str, now: float) -> None:
        self._book, self._made_by, self._now = book, made_by, now
        self._formerly = {each.mirror.name: each.mirror.formerly for each in opened.renamed()}
        self._active = {active.mirror for active in book.active()}
        self._requests = book.operator_requests()
        self.used: set[str] = set()

    def mirror(self, planned: Planned, jobs: Mapping[str, OldJob]) -> MirrorResult:
        """Take over the state of one mirror, if that is possible."""
        name = planned.mirror.name
        there = next((each for each in (name, *self._formerly.get(name, ())) if each in jobs), None)
        if there is None:
            return MirrorResult(name, False, "that worker does not have it")
        self.used.add(there)
        job = jobs[there]
        if self._has_runs(name):
            return MirrorResult(name, False, "it has runs of this worker")
        if not job_state.has_history(job):
            return MirrorResult(name, False, "it was never synced there")
        if why := job_state.not_usable(job, self._now):
            return MirrorResult(name, False, why, why)
        taken = job_state.state_of(job, self._now)
        self._record(planned, taken)
        renamed = "" if there == name else f" (`{shown(there)}` there)"
        return MirrorResult(name, True, f"{_described(job, taken, self._now)}{renamed}", _todo(planned, job, taken))

    def _has_runs(self, name: str) -> bool:
        row = self._book.mirrors.row(name)
        return name in self._active or (row is not None and (row["run"] is not None or row["status"] in ACTIVE))

    def _record(self, planned: Planned, taken: TakenState) -> None:
        subject, book = Subject.of(planned), self._book
        fields: dict[str, float | str | None] = {
            "last_started_at": taken.started_at, "last_ended_at": taken.ended_at, "last_success_at": taken.success_at,
            "size": taken.size, "failures": taken.failures,
        }  # fmt: skip
        # A run finds out by that that an empty directory is a disk that is not mounted, and refuses to fetch a copy.
        fields["files_in"] = None if taken.success_at is None else planned.paths.directory
        book.mirrors.put(subject, taken.status)
        book.mirrors.update(subject.name, fields)
        self._override(subject.name, taken.override)
        book.mirrors.show_override(subject.name)
        book.outbox.report(subject.name, self._now)

    def _override(self, name: str, kind: str) -> None:
        """Let a mirror have the override that it has there, unless an operator of this worker has set one."""
        request = self._requests.get(name)
        before, ours = (request.override, request.reason == REASON) if request else ("", False)
        if before and not ours:
            return
        if kind:
            self._book.overrides.override(name, kind, self._now, self._made_by, REASON)
        elif before:
            self._book.overrides.lift(name)


def _described(job: OldJob, taken: TakenState, now: float) -> str:
    last = "never succeeded" if taken.success_at is None else f"last success {_ago(taken.success_at, now)}"
    size = "" if taken.size is None else f", {format_size(taken.size)}"
    return f"{job.status}, {last}{size}"


def _ago(at: float, now: float) -> str:
    return f"{format_duration(max(0.0, now - at))} ago"


def _todo(planned: Planned, job: OldJob, taken: TakenState) -> str:
    if job.status in ACTIVE:
        return "still syncing at the old worker: wait until it has ended or stop that worker, then run this again"
    if taken.success_at is not None and is_missing_or_empty(planned.paths.directory):
        return (
            f"{planned.paths.directory} is missing or empty: mount the disk or check `mirror_root`, or its first run"
            " will be refused"
        )
    return ""


def _next_runs(opened: Plan, book: Journal, now: float) -> dict[str, str]:
    """Return when each mirror runs next, in words."""
    held = hold.is_held(opened.header, book)
    mirrors, world = schedule.world(opened, book.states(), book.operator_requests(), held=held)
    return {mirror.name: _next_run(schedule.outlook(mirror, world, now), world, now) for mirror in mirrors}


def _next_run(found: schedule.Outlook, world: World, now: float) -> str:
    if found.kind == schedule.HELD:
        return "no next run"
    if found.kind == LATER and found.at is not None:
        return f"next run in {format_duration(max(0.0, found.at - now))}"
    if found.kind == schedule.DUE:
        return "due after `skipjack release`" if world.rules.held else "due now"
    return "next run not known yet"


def _print(results: list[MirrorResult], dues: Mapping[str, str], left: list[str], *, dry_run: bool) -> None:
    for line in _lines(results, dues):
        say(line)
    for name in sorted(left):
        say(f"{shown(name)}: not taken over: this worker does not have it")
    count = sum(result.taken for result in results)
    change = "; nothing was changed, because of `--dry-run`" if dry_run else ""
    say(f"taken over: {count} of {len(results)} mirrors{change}")


def _lines(results: list[MirrorResult], dues: Mapping[str, str]) -> Iterator[str]:
    for name, taken, words, todo in results:
        if taken:
            yield f"{name}: {words}; {todo or dues[name]}"
        else:
            yield f"{name}: not taken over: {words}; {dues[name]}"
