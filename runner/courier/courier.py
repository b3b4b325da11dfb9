"""`skipjack courier`: the only program that talks to the manager. It drains the outbox and takes commands.

With `--linger` three threads share the work, so that none waits for another: this one delivers whenever a run rings,
one holds a request open until the manager has a command, one compares mirrors with their upstreams.
"""

import contextlib
import os
import select
import socket
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from runner.base import locks, next_wake, runtime_dir, wakeup
from runner.base.backoff import Backoff
from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.courier import commands, delivery
from runner.courier.background_thread import Aside
from runner.courier.client import BadToken, Client, Misbehaves, Rejected
from runner.courier.command_poll import Poller
from runner.courier.commands import Here
from runner.courier.probe_schedule import AT_ONCE, Prober, Probes
from runner.courier.tunasync_manager import TunasyncManager
from runner.follow import noted
from runner.run import progress
from runner.subprocesses import unit_health
from schemas.config.settings import TUNASYNC
from schemas.errors import SkipjackError
from schemas.lock_holders import described
from schemas.records import ManagerAddress, RunnerSettings
from schemas.standard_streams import ERROR

PATIENCE = 10.0
"""Seconds to wait for another courier, which may just be ending."""

HEARTBEAT = 60.0
"""Seconds between signs of life of a lingering courier."""

PROGRESS_EVERY = 10.0
"""Seconds between signs of life while runs tell how far they are."""

RETRY_FIRST, RETRY_MOST = 1.0, 60.0
"""Seconds until the next try after a failure; doubled each time."""

STRANGE_MOST = 600.0
"""Seconds until the next try at most, where what answers does not keep to the protocol."""

FOLLOWS, FOLLOWS_IN = 10, 600.0
"""Follows that are begun at most in so many seconds because the manager names another revision."""

LOST_AGAIN = 3
"""Deliveries in a row in which the manager has lost what it was told, until that counts as a failure."""


class AnotherCourier(SkipjackError):  # noqa: N818 - it is what is so
    """Another courier is at work, and delivers everything."""


def once(settings: RunnerSettings, file: Path, *, start: bool, quiet: bool = False) -> int:
    """Deliver and take commands once; SkipjackError when the manager did not take everything.

    `file` is where the settings come from, for a follow that the manager wants; `start` lets that follow and commands
    start whatever is due; `quiet` leaves out what is not wrong. Gives the number of reports.
    """
    here = _here(settings, file, start=start)._replace(quiet=quiet)
    with _only_courier(settings), contextlib.closing(_link(settings, here)) as link:
        commands.resume(here)
        delivered = _deliver(link, here.layout)
        if isinstance(link, TunasyncManager):
            return delivered
        came = commands.attend(here, link.client, 0)
        if Probes(here.layout).make(AT_ONCE) or came:
            delivered += _deliver(link, here.layout)
    return delivered


def linger(settings: RunnerSettings, file: Path, *, start: bool) -> None:
    """Deliver when a run rings, at least every HEARTBEAT seconds, and take commands, until killed; see `once`."""
    here = _here(settings, file, start=start)
    with (
        _only_courier(settings),
        _listening(settings) as listener,
        contextlib.closing(_link(settings, here)) as link,
    ):
        commands.resume(here)
        asides = _asides(settings, here)
        for aside in asides:
            aside.start()
        pace = _Pace(listener)
        told = ""
        while True:
            for aside in asides:
                aside.check()
            if here.start and next_wake.are_units_unchecked(here.layout, time.time()):
                unit_health.check(here.layout)
            try:
                _deliver(link, here.layout)
                for aside in asides:
                    aside.encourage()
                if told:
                    log("the manager takes reports again", about="courier")
                told = ""
                pace.after_delivery(PROGRESS_EVERY if progress.read_all(settings.run_dir) else HEARTBEAT)
            except SkipjackError as error:
                if str(error) != told:
                    log(str(error), about="courier", level=ERROR)
                told = str(error)
                pace.after_failure(error)


class _Pace:
    """The waiting between deliveries, which ends early when a run rings: after a failure not at once, and not at all
    when more requests would be of no use."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._failures, self._strange = Backoff(RETRY_FIRST, RETRY_MOST), Backoff(RETRY_FIRST, STRANGE_MOST)

    def after_delivery(self, seconds: float) -> None:
        self._failures.reset()
        self._strange.reset()
        _wait(self._listener, seconds)

    def after_failure(self, error: SkipjackError) -> None:
        if isinstance(error, Misbehaves | Rejected):
            _sleep(self._strange.after_failure())
            return
        seconds = self._failures.after_failure()
        _sleep(min(seconds, 1.0))  # a run that rings must not turn retries into a storm
        _wait(self._listener, seconds)


class _Link:
    """A manager of ours."""

    def __init__(self, settings: RunnerSettings, here: Here) -> None:
        self._settings, self._here = settings, here
        self.client = Client(_address(settings))
        self._followed_at: deque[float] = deque(maxlen=FOLLOWS)
        self._lost = 0

    def deliver(self) -> int:
        """Deliver, and follow if the manager names a newer revision; gives the number of reports."""
        delivered = delivery.deliver(self._settings, self.client)
        self._lost = self._lost + 1 if delivered.resent else 0
        if self._lost >= LOST_AGAIN:
            raise Misbehaves("The manager loses what it is told, again and again.", "See its log and its database.")
        if self._may_follow() and commands.heed(self._here, delivered.revision):
            self._followed_at.append(time.monotonic())
        return delivered.reports

    def _may_follow(self) -> bool:
        """Whether few enough follows began lately; a revision that is passed over is named again."""
        return len(self._followed_at) < FOLLOWS or time.monotonic() - self._followed_at[0] >= FOLLOWS_IN

    def close(self) -> None:
        """Hang up."""
        self.client.close()


def _link(settings: RunnerSettings, here: Here) -> _Link | TunasyncManager:
    address = _address(settings)
    if address.protocol == TUNASYNC:
        return TunasyncManager(address, settings)
    return _Link(settings, here)


def _deliver(link: _Link | TunasyncManager, layout: StateLayout) -> int:
    """Deliver, and note for `skipjack next` whether that was possible."""
    try:
        delivered = link.deliver()
    except SkipjackError as error:
        noted.unreported(layout, error, time.time(), lasting=isinstance(error, BadToken))
        raise
    noted.reported(layout)
    return delivered


def _asides(settings: RunnerSettings, here: Here) -> list[Aside]:
    """What goes on beside the deliveries; a manager of tunasync gives no commands, and could not take probes."""
    address = _address(settings)
    if address.protocol == TUNASYNC:
        return []
    return [Poller(here, Client(address), settings.run_dir), Prober(here.layout, settings.run_dir)]


def _here(settings: RunnerSettings, file: Path, *, start: bool) -> Here:
    return Here(settings.worker, StateLayout(settings.state_dir), str(file.absolute()), start)


_sleep = time.sleep


def _wait(listener: socket.socket, seconds: float) -> None:
    select.select([listener], [], [], seconds)
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.recv(1)


@contextlib.contextmanager
def _listening(settings: RunnerSettings) -> Iterator[socket.socket]:
    """The socket at which runs wake the courier."""
    path = wakeup.path(settings.run_dir)
    if (missing := runtime_dir.make(settings.run_dir)) is not None:
        raise missing
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # left by a courier that was killed; the lock says that there is no other
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        try:
            listener.bind(path)
        except OSError as error:
            what = f"The socket {path} cannot be made: {error.strerror or error}."
            raise SkipjackError(what, "Choose another `run_dir` in the settings.") from error
        yield listener


@contextlib.contextmanager
def _only_courier(settings: RunnerSettings) -> Iterator[None]:
    path = StateLayout(settings.state_dir).lock("program", "courier")
    with locks.Held(path, wait=PATIENCE) as ours:
        if not ours:
            what = f"Another courier is at work: {described(path)}."
            raise AnotherCourier(what, "One is enough; it delivers everything.")
        yield


def _address(settings: RunnerSettings) -> ManagerAddress:
    if settings.manager is None:
        raise SkipjackError("The settings name no manager.", "Add `manager:` with `url` and `token`.")
    return settings.manager
