"""A run that has begun: carry it out, and record how it ended."""

import time
from collections.abc import Sequence

from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.journal.journal import Ending, Journal
from runner.journal.last_success import left_in
from runner.plan import plan, schedule
from runner.plan.plan import Header
from runner.plugin_api import Abort, Job
from runner.run import pipeline, progress
from runner.run.directory_lock import InUse
from runner.run.parts import has_plugins, parts_of
from runner.run.run_locks import Locks
from runner.subprocesses import launch, supervisor
from schemas import wakeup
from schemas.errors import SkipjackError
from schemas.mirror_record import RSYNC_PROVIDERS, Mirror
from schemas.standard_streams import ERROR, INFO, WARNING
from schemas.states import REFUSED, STOPPED, SUCCESS, SYNCING

_IN_PLACE = RSYNC_PROVIDERS
"""Providers that never put another directory in the place of the mirror's."""


class ActiveRun:
    """The run with this number in the journal. It holds its locks, and `stop` is set by a signal.

    `seen` is the stamp of the plan that had the mirror when the run began.
    """

    def __init__(
        self,
        layout: StateLayout,
        header: Header,
        seen: plan.Stamp,
        book: Journal,
        number: int,
        held: Locks,
        stop: supervisor.Stop,
        job: Job,
    ) -> None:
        self._layout, self._header, self._seen = layout, header, seen
        self._book, self._number, self._held, self._stop = book, number, held, stop
        self._job, self._name = job, job.mirror.name

    def complete(self) -> Ending:
        """Carry out the run, record its end in the journal and return it."""
        place = progress.Place(self._header.run_dir, self._name)
        place.clear()  # a killed run leaves its progress behind
        log("begins", about=self._name)
        ending = pipeline.run(self._job, self._means(place))
        place.clear()
        if problem := self._held.directory.problem:
            what = f"cannot lock the directory: {problem}. Only this worker's lock files protect it"
            log(what, about=self._name, level=WARNING)
        now = time.time()
        ending = self._with_facts(ending, now)
        self._book.end(self._number, self._name, ending, now)
        for complaint in self._job.complaints:
            log(complaint, about=self._name, level=WARNING)
        # The journal turns an interruption into `stopped` if an operator asked for it.
        ended = self._book.run(self._number) or ending
        level = INFO if ended.status in (SUCCESS, STOPPED) else ERROR
        log(ended.status + (f": {ended.reason}" if ended.reason else ""), about=self._name, level=level)
        return ending

    def _means(self, place: progress.Place) -> pipeline.Means:
        limits = None
        if has_plugins(self._job.mirror):
            from runner.run.plugin_interruption import PluginLimits

            limits = PluginLimits(self._job, self._stop, self._give_up)
        provider, hooks = parts_of(self._job.mirror, self._header.plugins, limits)
        return pipeline.Means(
            provider, hooks, self._held.inherited, self._stop, self._begin_attempt, place.publish, self._claim,
            self._check_place, self._pause,
        )  # fmt: skip

    def _begin_attempt(self, attempt: int) -> None:
        identity = self._held.directory.identity
        self._book.attempt(self._number, self._name, SYNCING, attempt, time.time(), identity)
        wakeup.send(self._header.run_dir, wakeup.COURIER)
        log(f"attempt {attempt} of {self._job.mirror.retry}, log {self._job.log_file}", about=self._name)

    def _claim(self) -> None:
        """Lock the directory again after the hooks have created or mounted it; Abort if another process holds it."""
        self._lock_directory()
        if self._job.starts_anew:
            self._book.allow_empty_start(self._name)
        elif self._job.from_empty:
            log("`--from-empty` has no effect, since its directory has files", about=self._name)

    def _check_place(self) -> tuple[int, ...]:
        """Return the descriptors of the directory's locks; Abort if its path no longer leads to the locked directory.

        A `command` or a plug-in may replace its directory by another one, to publish all files at once. The new one is
        then locked.
        """
        directory = self._held.directory
        if moved := directory.moved():
            if self._job.mirror.provider in _IN_PLACE or not directory.is_exchanged():
                raise Abort(REFUSED, moved)
            self._lock_directory()
        return directory.descriptors

    def _lock_directory(self) -> None:
        try:
            self._held.directory.take()
        except InUse as busy:
            raise Abort(REFUSED, str(busy)) from busy

    def _pause(self, job: Job, ending: Ending) -> Sequence[int] | None:
        from runner.run.between_attempts import RetryPause  # loaded here, since most runs need one attempt only

        return RetryPause(self._layout, self._header, self._book, self._number, self._held, self._stop)(job, ending)

    def _with_facts(self, ending: Ending, now: float) -> Ending:
        """Return the end with what the run leaves in its directory, and when the mirror runs next."""
        job, left = self._job, None
        if job.attempt:
            identity = self._held.directory.identity
            judged = {"refused": job.loss_refused, "counted": job.counted}
            left = left_in(job.directory, identity, *job.found, **judged, on_disk=job.on_disk)
        ending = ending._replace(left=left, unreached=ending.unreached and job.mirror.retry_after_failure > 0)
        return self._with_next_run(ending, now) if is_planned(self._layout, self._name, self._seen) else ending

    def _with_next_run(self, ending: Ending, now: float) -> Ending:
        return ending._replace(next_run_at=next_run_at(self._job.mirror, self._book, self._header, ending, now))

    def _give_up(self, ending: Ending) -> None:
        """Record the end of a run whose process ends right after this, in the middle of a plug-in's code."""
        now = time.time()
        log(f"{ending.status}: {ending.reason}", about=self._name, level=ERROR)
        self._book.end(self._number, self._name, self._with_next_run(ending, now), now)
        wakeup.send(self._header.run_dir, wakeup.COURIER)
        # Its locks are still held, and a launched run waits a moment for them.
        launch.want_tick(self._layout, only_requested=self._book.was_requested(self._name))


def is_planned(layout: StateLayout, name: str, seen: plan.Stamp) -> bool:
    """Return whether the plan still has the mirror, also under another name: a follow may have removed it meanwhile.

    `seen` is the stamp of the plan that had it when the run began.
    """
    if plan.stamp_of(layout.plan) == seen:
        return True
    try:
        with plan.opened(layout.plan) as opened:
            if opened.has(name):
                return True
            from runner.journal import leftover_runs  # loaded here, since few mirrors leave their worker during a run

            return not leftover_runs.find(opened, [name])
    except SkipjackError:
        return True


def next_run_at(mirror: Mirror, book: Journal, header: Header, ending: Ending, now: float) -> float | None:
    """Return when a mirror runs next whose run ends now."""
    state = schedule.count_failures(book.state(mirror.name), ending.status, unreached=ending.unreached)
    ended = state._replace(status=ending.status, last_ended_at=now)
    return schedule.next_run_at(plan.due(mirror), ended, schedule.rules_of(header), now)
