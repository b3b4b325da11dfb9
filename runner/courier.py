"""`skipjack courier`: the only program that talks to the manager. It drains the outbox and takes commands.

With `--linger` three threads share the work, so that none waits for another: this one delivers whenever a run rings,
one holds a request open until the manager has a command, one compares mirrors with their upstreams.
"""

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from runner import bell, commands, delivery, progress
from runner.client import Client
from runner.commands import Here
from runner.output import log
from runner.places import Places
from runner.poller import Poller
from runner.prober import AT_ONCE, Prober, Probes
from schemas.errors import SkipjackError
from schemas.records import ManagerAddress, RunnerSettings

PATIENCE = 10.0
"""Seconds to wait for another courier, which may just be ending."""

HEARTBEAT = 60.0
"""Seconds between signs of life of a lingering courier."""

PROGRESS_EVERY = 10.0
"""Seconds between signs of life while runs tell how far they are."""

RETRY_FIRST, RETRY_MOST = 1.0, 60.0
"""Seconds until the next try after a failure; doubled each time."""


def once(settings: RunnerSettings, file: Path) -> int:
    """Deliver and take commands once; SkipjackError when the manager did not take everything.

    `file` is where the settings come from, for a follow that the manager wants. Gives the number of reports.
    """
    here = _here(settings, file)
    with _only_courier(settings), contextlib.closing(Client(_address(settings))) as client:
        commands.resume(here)
        delivered = _deliver(settings, client, here)
        came = commands.attend(here, client, 0)
        if Probes(here.places).make(AT_ONCE) or came:
            delivered += _deliver(settings, client, here)
    return delivered


def linger(settings: RunnerSettings, file: Path) -> None:
    """Deliver when a run rings, at least every HEARTBEAT seconds, and take commands, until killed."""
    here = _here(settings, file)
    with _only_courier(settings), _listening(settings) as listener:
        client = Client(_address(settings))
        commands.resume(here)
        poller = Poller(here, Client(_address(settings)), settings.run_dir)
        prober = Prober(here.places, settings.run_dir)
        poller.start()
        prober.start()
        pause, told = RETRY_FIRST, ""
        while True:
            poller.check()
            prober.check()
            prober.wake()
            try:
                _deliver(settings, client, here)
                poller.encourage()
                if told:
                    log("the manager takes reports again")
                wait = PROGRESS_EVERY if progress.read_all(settings.run_dir) else HEARTBEAT
                pause, told = RETRY_FIRST, ""
            except SkipjackError as error:
                if str(error) != told:
                    log(str(error))
                wait, pause, told = pause, min(pause * 2, RETRY_MOST), str(error)
                time.sleep(min(wait, 1.0))  # a poke must not turn retries into a storm
            _wait(listener, wait)


def _deliver(settings: RunnerSettings, client: Client, here: Here) -> int:
    delivered = delivery.deliver(settings, client)
    commands.heed(here, delivered.revision)
    return delivered.reports


def _here(settings: RunnerSettings, file: Path) -> Here:
    return Here(settings.worker, Places(settings.state_dir), str(file.absolute()))


def _wait(listener: socket.socket, seconds: float) -> None:
    select.select([listener], [], [], seconds)
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.recv(1)


@contextlib.contextmanager
def _listening(settings: RunnerSettings) -> Iterator[socket.socket]:
    """The socket at which runs wake the courier."""
    path = bell.path(settings.run_dir)
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
    from filelock import FileLock, Timeout

    path = Places(settings.state_dir).lock("program", "courier")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.makedirs(settings.run_dir, exist_ok=True)
    try:
        with FileLock(path, timeout=PATIENCE):
            yield
    except Timeout as error:
        raise SkipjackError("Another courier is at work.", "One is enough; it delivers everything.") from error


def _address(settings: RunnerSettings) -> ManagerAddress:
    if settings.manager is None:
        raise SkipjackError("The settings name no manager.", "Add `manager:` with `url` and `token`.")
    return settings.manager
