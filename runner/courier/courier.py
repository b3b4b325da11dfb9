"""`skipjack courier`: the only program that talks to the manager. It delivers the outbox and fetches commands.

With `--linger` three threads share the work, so that none waits for another: this one delivers whenever a run wakes it,
one holds a request open until the manager has a command, one compares mirrors with their upstreams.
"""

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from runner.base import locks, next_wake, runtime_dir
from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.courier import commands, delivery, policy_report
from runner.courier.background_thread import BackgroundThread
from runner.courier.client import BadToken, ManagerClient, ProtocolViolation, Rejected
from runner.courier.command_poll import CommandPoller
from runner.courier.commands import WorkerContext
from runner.courier.probe_schedule import AT_ONCE, Probes, ProbeThread
from runner.courier.tunasync_manager import TunasyncManager
from runner.follow import noted
from runner.run import progress
from runner.subprocesses import unit_health
from schemas import wakeup
from schemas.backoff import Backoff
from schemas.config.settings import TUNASYNC
from schemas.errors import SkipjackError
from schemas.lock_holders import described
from schemas.records import ManagerAddress, RunnerSettings
from schemas.standard_streams import ERROR
from schemas.wakeup import WakeupSocket

LOCK_TIMEOUT = 10.0
"""Seconds to wait for another courier, which may be about to end."""

HEARTBEAT = 60.0
"""Seconds between heartbeats of a lingering courier. By default a worker counts as offline after half an hour."""

PROGRESS_EVERY = 10.0
"""Seconds between heartbeats while runs report progress."""

RETRY_FIRST, RETRY_MOST = 1.0, 60.0
"""Seconds until the next try after a failure: doubled each time, up to the second."""

PROTOCOL_MOST = 600.0
"""Seconds until the next try at most when the server does not keep to the protocol."""

FOLLOWS, FOLLOWS_IN = 10, 600.0
"""Follows at most, and in how many seconds, that start because the manager names another revision."""

LOST_AGAIN = 3
"""Deliveries in a row in which the manager has lost reports, before that counts as a failure."""


class AnotherCourier(SkipjackError):  # noqa: N818 - a state, not a fault
    """Another courier is running, and delivers everything."""


def once(settings: RunnerSettings, file: Path, *, start: bool, quiet: bool = False) -> int:
    """Deliver, and fetch commands, once; return the number of reports. SkipjackError when not all were delivered.

    `file` is the settings file, for a follow that the manager asks for. With `start` that follow and the commands may
    start everything that is due. `quiet` logs only errors and warnings.
    """
    here = _here(settings, file, start=start)._replace(quiet=quiet)
    with _only_courier(settings), contextlib.closing(_link(settings, here)) as link:
        commands.resume(here)
        delivered = _deliver(link, here.layout)
        if isinstance(link, TunasyncManager):
            return delivered
        came = commands.fetch_and_execute(here, link.client, 0)
        # What probes and commands have changed is reported at once.
        if Probes(here.layout).make(AT_ONCE) or came:
            delivered += _deliver(link, here.layout)
    return delivered


def linger(settings: RunnerSettings, file: Path, *, start: bool) -> None:
    """Deliver when a run wakes it and every HEARTBEAT seconds, and fetch commands, until killed; see `once`."""
    here = _here(settings, file, start=start)
    with (
        _only_courier(settings),
        # After the lock, which allows to replace the socket that a killed courier has left.
        contextlib.closing(_wakeup_socket(settings)) as wakeups,
        contextlib.closing(_link(settings, here)) as link,
    ):
        commands.resume(here)
        threads = _background_threads(settings, here)
        for thread in threads:
            thread.start()
        pace = _Pace(wakeups)
        last_error = ""
        while True:
            for thread in threads:
                thread.raise_failure()
            if here.start and next_wake.are_units_unchecked(here.layout, time.time()):
                unit_health.check(here.layout)
            try:
                _deliver(link, here.layout)
                for thread in threads:
                    thread.after_delivery()
                if last_error:
                    log("the manager accepts reports again", about="courier")
                last_error = ""
                pace.after_delivery(PROGRESS_EVERY if progress.read_all(settings.run_dir) else HEARTBEAT)
            except SkipjackError as error:
                # Once for each reason: the same failure repeats every minute.
                if str(error) != last_error:
                    log(str(error), about="courier", level=ERROR)
                last_error = str(error)
                pace.after_failure(error)


class _Pace:
    """The pauses between deliveries. A wake-up of a run ends them early: after a failure not within the first second,
    and not at all when the server does not keep to the protocol."""

    def __init__(self, wakeups: WakeupSocket) -> None:
        self._wakeups = wakeups
        self._failures, self._protocol_failures = Backoff(RETRY_FIRST, RETRY_MOST), Backoff(RETRY_FIRST, PROTOCOL_MOST)

    def after_delivery(self, seconds: float) -> None:
        self._failures.reset()
        self._protocol_failures.reset()
        self._wakeups.wait(seconds)

    def after_failure(self, error: SkipjackError) -> None:
        if isinstance(error, ProtocolViolation | Rejected):
            _sleep(self._protocol_failures.after_failure())
            return
        seconds = self._failures.after_failure()
        _sleep(min(seconds, 1.0))  # wake-ups of runs must not turn retries into a storm
        self._wakeups.wait(seconds)


class _SkipjackManager:
    """A manager of Skipjack."""

    def __init__(self, settings: RunnerSettings, here: WorkerContext) -> None:
        self._settings, self._here = settings, here
        self.client = ManagerClient(_address(settings))
        self._followed_at: deque[float] = deque(maxlen=FOLLOWS)
        self._lost = 0

    def deliver(self) -> int:
        """Deliver, and start a follow if the manager names another revision; return the number of reports."""
        delivered = delivery.deliver(self._settings, self.client)
        if delivered.policy_wanted:
            policy_report.send(Path(self._here.settings), self.client)
        self._lost = self._lost + 1 if delivered.resent else 0
        if self._lost >= LOST_AGAIN:
            raise ProtocolViolation("the manager loses reports again and again.", "Check its log and its database.")
        if self._may_follow() and commands.follow_if_behind(self._here, delivered.revision):
            self._followed_at.append(time.monotonic())
        return delivered.reports

    def _may_follow(self) -> bool:
        """Return whether few enough follows were started lately. The manager names a skipped revision again."""
        return len(self._followed_at) < FOLLOWS or time.monotonic() - self._followed_at[0] >= FOLLOWS_IN

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


def _link(settings: RunnerSettings, here: WorkerContext) -> _SkipjackManager | TunasyncManager:
    address = _address(settings)
    if address.protocol == TUNASYNC:
        return TunasyncManager(address, settings)
    return _SkipjackManager(settings, here)


def _deliver(link: _SkipjackManager | TunasyncManager, layout: StateLayout) -> int:
    """Deliver, and note for `skipjack next` whether that was possible."""
    try:
        delivered = link.deliver()
    except SkipjackError as error:
        noted.unreported(layout, error, time.time(), lasting=isinstance(error, BadToken))
        raise
    noted.reported(layout)
    return delivered


def _background_threads(settings: RunnerSettings, here: WorkerContext) -> list[BackgroundThread]:
    """Return the background threads. A manager of tunasync has no commands, and cannot store probes."""
    address = _address(settings)
    if address.protocol == TUNASYNC:
        return []
    return [CommandPoller(here, ManagerClient(address), settings.run_dir), ProbeThread(here.layout, settings.run_dir)]


def _here(settings: RunnerSettings, file: Path, *, start: bool) -> WorkerContext:
    return WorkerContext(settings.worker, StateLayout(settings.state_dir), str(file.absolute()), start)


# A name of its own, which tests replace without a change for all other threads.
_sleep = time.sleep


def _wakeup_socket(settings: RunnerSettings) -> WakeupSocket:
    if (missing := runtime_dir.make(settings.run_dir)) is not None:
        raise missing
    return WakeupSocket(settings.run_dir, wakeup.COURIER)


@contextlib.contextmanager
def _only_courier(settings: RunnerSettings) -> Iterator[None]:
    path = StateLayout(settings.state_dir).lock("program", "courier")
    with locks.Held(path, wait=LOCK_TIMEOUT) as acquired:
        if not acquired:
            what = f"another courier is running: {described(path)}."
            raise AnotherCourier(what, "It delivers everything.")
        yield


def _address(settings: RunnerSettings) -> ManagerAddress:
    if settings.manager is None:
        raise SkipjackError("the settings have no manager.", "Add `manager:` with `url` and `token`.")
    return settings.manager
