"""What a run does between two attempts: it gives up its slot, waits, and takes a slot again."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from runner import bell, launch, process, progress
from runner.api import Job
from runner.journal import Ending, Journal
from runner.output import log
from runner.places import Places
from runner.plan import Header
from runner.run_locks import Locks

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
        self, places: Places, header: Header, book: Journal, run: int, held: Locks, stop: process.Stop
    ) -> None:
        self._places, self._run_dir, self._book = places, header.run_dir, book
        self._run, self._held, self._stop = run, held, stop

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
        waiting = self._book.waiting_runs()
        if waiting < _WAITING * self._held.slot.slots:
            return False
        log(f"{waiting} runs wait for their next attempts, so it keeps its slot until its own", about=name)
        return True

    def _give_up(self, job: Job, ending: Ending, pause: float) -> None:
        name, now = job.mirror.name, time.time()
        begins = datetime.fromtimestamp(now + pause, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        failed = f"attempt {job.attempt} of {job.mirror.retry} {ending.status}: {ending.reason[:_LONGEST]}"
        reason = f"{failed}. The next attempt begins at {begins}, or when a slot is free after that"
        progress.Place(self._run_dir, name).clear()
        self._held.slot.give_up()
        self._book.wait_between_attempts(self._run, name, now + pause, reason, now)
        log(reason, about=name)
        bell.ring(self._run_dir)
        launch.want_tick(self._places, only_requested=self._book.was_requested(name))

    def _take_slot(self, name: str) -> bool:
        """Wait for a slot; False when told to stop."""
        slot, waits = self._held.slot, False
        while not (self._book.claim_slot(name, slot.slots) and slot.take()):
            if not waits:
                log("no slot is free for its next attempt; it waits for one", about=name)
            waits = True
            if self._stop.wait(POLL):
                return False
        return True
