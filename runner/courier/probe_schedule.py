"""When a mirror is compared with its upstream: after each success, with a new timestamp file, and once an hour."""

import os
import time
from collections.abc import Iterator

from runner.base.state_dir import StateLayout
from runner.courier.background_thread import BackgroundThread
from runner.courier.upstream_probe import continued, is_probed, probe
from runner.journal import journal
from runner.plan import plan
from runner.plan.plan import Planned
from runner.plugin_api import Machine
from runner.run.parts import machine_of
from schemas import wakeup
from schemas.errors import SkipjackError

EVERY = 3600.0
"""Seconds between two probes of a mirror that is not synced meanwhile."""

LOOK = 60.0
"""Seconds until the next look for due probes."""

AT_ONCE = 30.0
"""Seconds after which a courier that does not linger starts no further probe."""


class Probes:
    """The probes of a worker's mirrors, which are read from the plan whenever that has changed."""

    def __init__(self, layout: StateLayout) -> None:
        self._layout = layout
        self._stamp: tuple[int, int] | None = None
        self._probed: dict[str, Planned] = {}
        self._machine = Machine()

    def make(self, seconds: float | None = None) -> int:
        """Make the probes that are due, starting none after `seconds`; return how many were made."""
        deadline = None if seconds is None else time.monotonic() + seconds
        made = 0
        with journal.opened(self._layout.journal) as book:
            for planned in self._due(book):
                if deadline is not None and time.monotonic() > deadline:
                    break
                found = probe(planned, self._machine)
                book.probed(planned.mirror.name, continued(book.probe(planned.mirror.name), found), found.at)
                made += 1
        return made

    def _due(self, book: journal.Journal) -> Iterator[Planned]:
        probed = self._planned()
        if probed:
            files = {name: each.mirror.freshness.file for name, each in probed.items() if each.mirror.freshness}
            yield from (probed[name] for name in book.probes_due(files, time.time(), EVERY))

    def _planned(self) -> dict[str, Planned]:
        try:
            found = os.stat(self._layout.plan)
        except FileNotFoundError:  # no follow has written a plan yet
            return {}
        # A follow replaces the file, so a new plan has another inode.
        stamp = found.st_ino, found.st_mtime_ns
        if stamp != self._stamp:
            with plan.opened(self._layout.plan) as opened:
                self._machine = machine_of(self._layout, opened.header)
                self._probed = {each.mirror.name: each for each in opened.mirrors() if is_probed(each.mirror)}
            self._stamp = stamp
        return self._probed


class ProbeThread(BackgroundThread):
    """Makes probes until the program ends."""

    def __init__(self, layout: StateLayout, run_dir: str) -> None:
        super().__init__("probes", run_dir)
        self._probes = Probes(layout)

    def work_once(self) -> float:
        """Make the probes that are due. An unreadable plan or journal is reported by the other programs."""
        try:
            if self._probes.make():
                wakeup.send(self._run_dir, wakeup.COURIER)
        except SkipjackError:
            return LOOK
        return LOOK

    def after_delivery(self) -> None:
        """Look for due probes at once: a success may have been delivered."""
        self.wake()
