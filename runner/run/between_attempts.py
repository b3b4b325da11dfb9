"""Wait between two attempts of a run: give up the slot, sleep, take a slot again."""

import contextlib
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
"""Seconds between two tries of a waiting run to take a slot. Each try is one small transaction."""

_LONGEST = 1500
"""Largest number of characters of a reason between two attempts: with the added text it must fit into a report."""


_WAITING = 16
"""Most runs that may wait, per slot of the worker. Each is a process of 8 MB, and all upstreams can fail at once."""


class RetryPause:
    """The wait of one run between two attempts.

    Until its pause is over a tick gives the run's slot to others. After that a tick keeps the next free slot for it.
    """

    def __init__(
        self, layout: StateLayout, header: Header, book: Journal, run: int, held: Locks, stop: supervisor.Stop
    ) -> None:
        self._layout, self._run_dir, self._book = layout, header.run_dir, book
        self._run, self._held, self._stop = run, held, stop
        self._beyond = held.slot.slots - header.slots  # of a run that was forced
        self._plan_seen: plan.Stamp | None = None

    def __call__(self, job: Job, ending: Ending) -> Sequence[int] | None:
        """Wait; return the descriptors that the next attempt's processes inherit, None after a stop signal."""
        pause = job.mirror.retry_delay
        # Without a pause another mirror would get the slot just before the next attempt.
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
        log(f"keeping the slot until the next attempt, since {waiting} runs already wait without one", about=name)
        return True

    def _give_up(self, job: Job, ending: Ending, pause: float) -> None:
        name, now = job.mirror.name, time.time()
        begins = datetime.fromtimestamp(now + pause, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        failed = f"attempt {job.attempt} of {job.mirror.retry} {ending.status}: {head(ending.reason, _LONGEST)}"
        reason = f"{failed}. The next attempt begins at {begins}, or when a slot is free after that"
        progress.Place(self._run_dir, name).clear()
        # The lock first: a tick that reads the row may launch another run at once, which must find the slot free.
        self._held.slot.give_up()
        self._book.wait_between_attempts(self._run, name, now + pause, reason, now)
        log(reason, about=name, level=WARNING)
        wakeup.send(self._run_dir, wakeup.COURIER)
        launch.want_tick(self._layout, only_requested=self._book.was_requested(name))

    def _take_slot(self, name: str) -> bool:
        """Wait for a slot; return False after a stop signal."""
        waits = False
        while not self._has_slot(name):
            if not waits:
                log("no slot is free for its next attempt; waiting for one", about=name)
            waits = True
            if self._stop.wait(POLL):
                return False
        return True

    def _has_slot(self, name: str) -> bool:
        """Take a slot if one is free; return whether it was."""
        self._count_slots()
        slot = self._held.slot
        # The journal first, in one transaction that counts all runs: the locks alone could be taken by a run that was
        # launched meanwhile, although the slot was kept for this one.
        if not self._book.claim_slot(name, slot.slots):
            return False
        if not slot.take():
            self._book.return_slot(name, time.time())
            return False
        return True

    def _count_slots(self) -> None:
        """Read the current number of slots from the plan, which a new revision may have changed since the run began."""
        if self._plan_seen is not None and self._plan_seen == plan.stamp_of(self._layout.plan):
            return
        with contextlib.suppress(SkipjackError):  # without a readable plan the last known number stays
            with plan.opened(self._layout.plan) as opened:
                self._held.slot.slots = opened.header.slots + self._beyond
            self._plan_seen = opened.stamp
