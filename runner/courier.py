"""`skipjack courier`: the only program that talks to the manager. It drains the outbox, oldest first.

A report leaves the outbox when the manager has acknowledged its number. A manager that lost numbers asks for a
snapshot, and gets everything that it cannot know.
"""

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator
from typing import Any

from runner import bell, journal, plan, progress
from runner.client import Answer, Client, TooLarge
from runner.journal import Journal
from runner.output import log
from runner.places import Places
from schemas import VERSION
from schemas.errors import SkipjackError
from schemas.records import RunnerSettings
from schemas.report import SNAPSHOT, Envelope, Problem, Progress, encode_envelope

BATCH = 500
BATCH_BYTES = 4 * 1024**2
"""At most this many reports, and about this many bytes of them, go into one request."""

PATIENCE = 10.0
"""Seconds to wait for another courier, which may just be ending."""

HEARTBEAT = 60.0
"""Seconds between signs of life of a lingering courier."""

PROGRESS_EVERY = 10.0
"""Seconds between signs of life while runs tell how far they are."""

RETRY_FIRST, RETRY_MOST = 1.0, 60.0
"""Seconds until the next try after a failure; doubled each time."""


def deliver(settings: RunnerSettings, client: Client) -> int:
    """Send all that waits, and a sign of life if nothing does; gives the number of reports acknowledged."""
    places = Places(settings.state_dir)
    delivered = 0
    with journal.opened(places.journal) as book:
        while True:
            reports, answer = _send(client, _envelope(settings, places, book), book)
            if answer.acknowledged > book.newest():
                log("the manager knows reports that this journal never made: it is an old copy and gets a new identity")
                book.renew()
                continue
            if _has_lost_some(answer, reports, book):
                log("the manager does not know some earlier reports; sending all that it cannot know")
                book.snapshot(answer.acknowledged, time.time())
                continue
            taken = [report for report in reports if report["number"] <= answer.acknowledged]
            if reports and not taken:
                raise SkipjackError("The manager took none of the reports.", "See its log; they wait here.")
            if taken:
                book.acknowledge(taken[-1]["number"])
                delivered += len(taken)
            if not book.pending():
                return delivered


def _send(client: Client, envelope: Envelope, book: Journal) -> tuple[list[dict[str, Any]], Answer]:
    """Send the oldest reports: as many as may be, or half as many where that is too large, down to a single one."""
    most = BATCH
    while True:
        reports = book.outbox(most, BATCH_BYTES)
        try:
            return reports, client.send(encode_envelope(envelope, reports))
        except TooLarge:
            if len(reports) < 2:
                raise
            most = len(reports) // 2


def _has_lost_some(answer: Answer, reports: list[dict[str, Any]], book: Journal) -> bool:
    """Tell whether the manager lacks reports that it once had; it says so itself if it gets one that comes later."""
    if reports:
        return answer.want == SNAPSHOT and reports[0]["kind"] != SNAPSHOT
    return answer.acknowledged < book.acknowledged()


def _envelope(settings: RunnerSettings, places: Places, book: Journal) -> Envelope:
    try:
        with plan.opened(places.plan) as opened:
            header = opened.header
        revision, slots = header.revision, header.slots
        problems = tuple(Problem(*each) for each in header.problems)
    except SkipjackError as error:  # no plan yet: the manager should know even that
        revision, slots, problems = None, 0, (Problem(None, "plan", error.what, error.todo),)
    active = {each.mirror for each in book.active()}
    identity, now = book.identity(), time.time()
    under_way = _progress(settings.run_dir, active)
    return Envelope(settings.worker, identity, now, VERSION, revision, slots, len(active), problems, (), under_way)


def _progress(run_dir: str, active: set[str]) -> tuple[Progress, ...]:
    """How far the active runs are; a run that was killed, or of another version, may have left something else."""
    found = progress.read_all(run_dir)
    return tuple(
        Progress(name, **{key: found[name][key] for key in Progress._fields if key in found[name]})
        for name in sorted(active & found.keys())
        if "at" in found[name]
    )


def once(settings: RunnerSettings) -> int:
    """Deliver once; SkipjackError when the manager did not take everything."""
    with _only_courier(settings):
        return deliver(settings, _client(settings))


def linger(settings: RunnerSettings) -> None:
    """Deliver when a run pokes, at least every HEARTBEAT seconds, until killed. A failure is told once and retried."""
    with _only_courier(settings), _listening(settings) as listener:
        client, pause, told = _client(settings), RETRY_FIRST, ""
        while True:
            try:
                deliver(settings, client)
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


def _client(settings: RunnerSettings) -> Client:
    if settings.manager is None:
        raise SkipjackError("The settings name no manager.", "Add `manager:` with `url` and `token`.")
    return Client(settings.manager)
