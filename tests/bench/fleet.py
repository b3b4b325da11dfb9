"""A fleet at work: what 100 workers with 100 mirrors each cost a manager that remembers 90 days.

Every mirror runs once an hour and tells four changes of each run, every worker says once a minute that it lives and
holds a request open for commands. The delay counts from when a report was due, so one that had to wait for the one
before it counts in full. Then the same a hundred times as often, on a disk whose every fsync takes 4 ms more.
"""

import itertools
import selectors
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from schemas.records import Mirror, Site, Worker
from schemas.report import SNAPSHOT, Report
from sitegen.messages.model import DeclaredConfig, Delivery
from tests.bench import load, usage
from tests.sitegen.kit import REVISION, Manager, envelope_of, run_of, status_of, wait_for

WORKERS, MIRRORS = 100, 100
DAYS = 90
"""Runs of each mirror in the store, one a day."""

CHANGES, HOUR, BEAT = 4, 3600, 60
SECONDS = 60.0
STORM = 100

_STATES = ("launching", "pre-syncing", "syncing", "success")


class Figures(NamedTuple):
    """Reports, and the seconds of each until it was acknowledged; CPU and peak memory (MB) of both programs."""

    delays: list[float]
    seconds: float
    cpu: tuple[float, ...]
    memory: tuple[float, ...]


def measure(folder: Path) -> None:
    """Print the figures."""
    folder.mkdir(parents=True)
    manager = Manager(folder)
    tokens = {f"w{number}": manager.token(f"w{number}") for number in range(WORKERS)}
    runs = _fill(manager, list(tokens))
    print(f"a fleet of {WORKERS} x {MIRRORS} mirrors, each run hourly; {runs} runs in the store")
    _print("as often as that", _measure(manager, tokens, 1, SECONDS, []))
    if shutil.which("strace"):
        _print(f"{STORM} times, 4 ms more per fsync", _measure(manager, tokens, STORM, SECONDS / 3, load.SLOW.split()))


def _print(what: str, found: Figures) -> None:
    p99 = statistics.quantiles(found.delays, n=100)[98] * 1000
    rate = len(found.delays) / found.seconds
    print(f"  {what:30}  {rate:6.0f} reports/s  acknowledged within {p99:.0f} ms (p99)")
    for name, cpu, memory in zip(("serve", "publish"), found.cpu, found.memory, strict=True):
        print(f"  {'':30}  {name:8}  {cpu / found.seconds * 100:5.1f} % of one processor  {memory:4.0f} MB at most")


def _fill(manager: Manager, workers: list[str]) -> int:
    """Let the store remember DAYS of runs; gives how many."""
    now = time.time()
    mirrors = tuple(
        Mirror(_mirror(place, number), worker, "rsync", "rsync://up.example.org/x/")
        for place, worker in enumerate(workers)
        for number in range(MIRRORS)
    )
    declared = {worker: Worker(worker) for worker in workers}
    with manager.store() as store:
        store.keep_catalogue(DeclaredConfig(REVISION, now, Site("Bench"), declared, mirrors, ()), now)
        for place, worker in enumerate(workers):
            store.apply([Delivery(envelope_of(_history(place, now), worker=worker), now)])
    return len(mirrors) * DAYS


def _history(place: int, now: float) -> Report:
    """A snapshot of all mirrors of a worker, with their runs of every day."""
    names = [_mirror(place, number) for number in range(MIRRORS)]
    ended = [now - day * 86400 for day in range(DAYS - 1, -1, -1)]
    runs = [
        (name, run_of(number * DAYS + day + 1, ended_at=at))
        for number, name in enumerate(names)
        for day, at in enumerate(ended)
    ]
    statuses = tuple(status_of(name, at=now, run=run) for name, run in runs[DAYS - 1 :: DAYS])
    return Report(1, now, SNAPSHOT, statuses, tuple(runs))


def _mirror(place: int, number: int) -> str:
    return f"mirror-{place}-{number}"


class _Reporter:
    """A courier: one report after the other, and those that wait together; and a request that is held."""

    def __init__(self, poll: selectors.BaseSelector, address: tuple[str, int], place: int, token: str) -> None:
        self.delays: list[float] = []
        self._poll, self._address, self._place, self._token = poll, address, place, token
        self._name = f"w{place}"
        self._waiting: list[float] = []
        self._sent: list[float] = []
        self._busy = False
        self._count = itertools.count()
        self._reports: socket.socket | None = None
        self._held = self._connected(self.listen)
        self._number = self._ask()

    def _connected(self, answered: Callable[[], None]) -> socket.socket:
        connection = socket.create_connection(self._address)
        self._poll.register(connection, selectors.EVENT_READ, answered)
        return connection

    def _ask(self) -> int:
        """The number of the last report that the manager has; and hold a request from now on."""
        with socket.create_connection(self._address) as connection:
            connection.sendall(load.request(envelope_of(worker=self._name), self._token))
            number = int(str(load.answer(connection)["acknowledged"]))
        self._hold()
        return number

    def _hold(self) -> None:
        path = f"/api/v1/commands?worker={self._name}&after=0&wait=60"
        self._held.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._token}\r\n\r\n".encode())

    def listen(self) -> None:
        """Take what a held request was answered, and hold the next."""
        load.answer(self._held)
        self._hold()

    def close(self) -> None:
        """Hang up."""
        for connection in (self._reports, self._held):
            if connection is not None:
                self._poll.unregister(connection)
                connection.close()

    def tell(self, due: float) -> None:
        """Have one more report to send."""
        self._waiting.append(due)
        self._send()

    def live(self) -> None:
        """Say that we live, unless we are just saying more."""
        if not self._busy:
            self._post()

    def acknowledged(self) -> None:
        """Take the answer; a connection over which nothing was asked has been closed by the manager."""
        assert self._reports is not None
        if not self._busy:
            self._poll.unregister(self._reports)
            self._reports.close()
            self._reports = None
            return
        if load.answer(self._reports)["acknowledged"] != self._number:
            raise RuntimeError(f"{self._name} was not acknowledged up to {self._number}")
        now = time.perf_counter()
        self.delays += [now - due for due in self._sent]
        self._sent, self._busy = [], False
        self._send()

    def _send(self) -> None:
        if self._waiting and not self._busy:
            self._sent, self._waiting = self._waiting, []
            self._post()

    def _post(self) -> None:
        now, self._busy = time.time(), True
        reports = [self._report(now) for _ in self._sent]
        self._reports = self._reports or self._connected(self.acknowledged)
        self._reports.sendall(load.request(envelope_of(*reports, worker=self._name, sent_at=now), self._token))

    def _report(self, now: float) -> Report:
        self._number += 1
        state, number = _STATES[next(self._count) % CHANGES], self._number // CHANGES
        mirror = _mirror(self._place, number % MIRRORS)
        run = run_of(10**6 + number, state, ended_at=now if state == "success" else None)
        return Report(self._number, now, "change", (status_of(mirror, state, at=now, run=run),))


def _measure(manager: Manager, tokens: dict[str, str], times: int, seconds: float, before: list[str]) -> Figures:
    with load.serving(manager, *before, publisher=True) as server:
        wait_for(lambda: load.children(server), "there is a publisher")
        (publisher,) = load.children(server)
        with selectors.DefaultSelector() as poll:
            workers = [
                _Reporter(poll, load.place(manager), place, token) for place, token in enumerate(tokens.values())
            ]
            used = [usage.cpu(server), usage.cpu(publisher)]
            _work(poll, workers, times, seconds)
            cpu = [now - then for now, then in zip((usage.cpu(server), usage.cpu(publisher)), used, strict=True)]
            for worker in workers:
                worker.close()
        memory = load.resident(server), load.resident(publisher)
    return Figures([delay for worker in workers for delay in worker.delays], seconds, tuple(cpu), memory)


def _work(poll: selectors.BaseSelector, workers: list[_Reporter], times: int, seconds: float) -> None:
    """Let the fleet work."""
    began = time.perf_counter()
    plan = _plan(workers, times, began)
    due, worker, is_report = next(plan)
    while (now := time.perf_counter()) < began + seconds:
        while due <= now:
            worker.tell(due) if is_report else worker.live()
            due, worker, is_report = next(plan)
        for key, _ in poll.select(max(0.0, due - now)):
            key.data()


def _plan(workers: list[_Reporter], times: int, began: float) -> Iterator[tuple[float, _Reporter, bool]]:
    """Yield without end when which worker sends a report or a heartbeat."""
    every = HOUR / (WORKERS * MIRRORS * CHANGES) / times
    beat = BEAT / WORKERS / times
    beats = 0
    for count in itertools.count():
        at = count * every
        yield began + at, workers[count % WORKERS], True
        while beats * beat <= at:
            yield began + at, workers[beats % WORKERS], False
            beats += 1
