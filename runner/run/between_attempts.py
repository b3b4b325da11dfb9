"""What a run does between two attempts: it gives up its slot, waits, and takes a slot again."""

import contextlib
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from runner.base.output import head, log
from runner.base.state_dir import StateLayout
from runner.journal.journal import Ending, Journal
from runner.plan import plan
from runner.plan.plan import Header
from runner.plugin_api import Job
from runner.run import progress
from runner.run.run_locks import Locks
from runner.subprocesses import launch, supervisor
from schemas import wakeup
from schemas.errors import SkipjackError
from schemas.standard_streams import WARNING

POLL = 1.0
"""Seconds after which a run that waits for a slot looks again. Each look is one small transaction."""

_LONGEST = 1500
"""Characters of a reason that are shown between two attempts, so that it fits into a report with what is added."""


_WAITING = 16
"""Runs that may wait for each slot of the worker. Each is a process of 8 MB, and all upstreams can fail at once."""


class Rest:
    """The wait of one run between two of its attempts.

    A tick counts the run as one without a slot until its pause is over. From then on the next free slot is kept for it.
    """

    def __init__(
        self, layout: StateLayout, header: Header, book: Journal, run: int, held: Locks, stop: supervisor.Stop
    ) -> None:
        self._layout, self._run_dir, self._book = layout, header.run_dir, book
        self._run, self._held, self._stop = run, held, stop
        self._beyond = held.slot.slots - header.slots  # of a run that was forced
        self._plan_seen: os.stat_result | None = None

    def __call__(self, job: Job, ending: Ending) -> Sequence[int] | None:
        """Wait, and return the descriptors that the next attempt's processes inherit; None when told to stop."""
        pause = job.mirror.retry_delay
        gives_up = bool(pause) and not self._too_many_wait(job.mirror.name)
        if gives_up:
            self._give_up(job, ending, pause)
        if self._stop.wait(pause):
            return None
        return self._held.inherited if not gives_up or self._take_slot(job.mirror.name) else None

    def _too_many_wait(self, name: str) -> bool:
        self._count_slots()
        waiting = self._book.waiting_runs()
        if waiting < _WAITING * self._held.slot.slots:
            return False
        log(f"{waiting} runs wait for their next attempts, so it keeps its slot until its own", about=name)
        return True

    def _give_up(self, job: Job, ending: Ending, pause: float) -> None:
        name, now = job.mirror.name, time.time()
        begins = datetime.fromtimestamp(now + pause, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        failed = f"attempt {job.attempt} of {job.mirror.retry} {ending.status}: {head(ending.reason, _LONGEST)}"
        reason = f"{failed}. The next attempt begins at {begins}, or when a slot is free after that"
        progress.Place(self._run_dir, name).clear()
        self._held.slot.give_up()
        self._book.wait_between_attempts(self._run, name, now + pause, reason, now)
        log(reason, about=name, level=WARNING)
        wakeup.send(self._run_dir, wakeup.COURIER)
        launch.want_tick(self._layout, only_requested=self._book.was_requested(name))

    def _take_slot(self, name: str) -> bool:
        """Wait for a slot; False when told to stop."""
        waits = False
        while not self._has_slot(name):
            if not waits:
                log("no slot is free for its next attempt; it waits for one", about=name)
            waits = True
            if self._stop.wait(POLL):
                return False
        return True

    def _has_slot(self, name: str) -> bool:
        """Take a slot if one is free."""
        self._count_slots()
        slot = self._held.slot
        if not self._book.claim_slot(name, slot.slots):
            return False
        if not slot.take():
            self._book.return_slot(name, time.time())
            return False
        return True

    def _count_slots(self) -> None:
        """Let as many slots count as there are now: a revision may have changed that since the run began."""
        with contextlib.suppress(OSError, SkipjackError):  # then the number stays that it was
            found = os.stat(self._layout.plan)
            if self._plan_seen is None or not _is_same(found, self._plan_seen):
                with plan.opened(self._layout.plan) as opened:
                    self._held.slot.slots = opened.header.slots + self._beyond
                self._plan_seen = found


def _is_same(one: os.stat_result, other: os.stat_result) -> bool:
    return (one.st_dev, one.st_ino, one.st_mtime_ns) == (other.st_dev, other.st_ino, other.st_mtime_ns)
