"""How many reports the manager keeps in a second, how many of them share a commit, and what each costs.

All clients are one process with kept connections and raw sockets, each a worker with a token, which sends its next
report when the last one is acknowledged. The manager is a real `serve` that validates and commits to a real disk. With
strace each fsync takes 4 ms more, as on a disk that spins. CPU tells more than the rate where others use the machine.
"""

import multiprocessing
import re
import select
import shutil
import socket
import time
from collections.abc import Sequence
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import NamedTuple, Protocol

from schemas.report import SNAPSHOT
from tests.bench import load, usage
from tests.sitegen.kit import Manager, envelope_of, report_of, run_of, status_of

CLIENTS = (1, 8, 32, 128)
SECONDS = 4.0
FIRST = 1_000_001
PLACE = b"7777777"
"""A placeholder for a report's number, which always has as many digits."""

_ACKNOWLEDGED = re.compile(rb'"acknowledged":(\d+)')
_CONTEXT = multiprocessing.get_context("fork")


class Figures(NamedTuple):
    """What a few seconds brought: updates, and the seconds and CPU seconds that they took."""

    updates: int
    seconds: float
    clients_cpu: float
    manager_cpu: float = 0.0
    commits: int = 0


class Connected(Protocol):
    """A client with a kept connection, which sends one thing after the other."""

    socket: socket.socket

    def connect(self) -> None:
        """Open a new connection."""

    def send(self) -> None:
        """Send the next one."""

    def is_acknowledged(self) -> bool:
        """Read what has come, and return whether it is the whole answer."""


class Client:
    """One worker's connection."""

    def __init__(self, address: tuple[str, int], name: str, token: str) -> None:
        self._address = address
        self._first = _request(name, token, SNAPSHOT).replace(PLACE, b"%d" % FIRST)
        self._parts = _request(name, token, "change").split(PLACE)
        self._number = FIRST
        self._came = b""
        self.socket = socket.socket()

    def connect(self) -> None:
        """Open a new connection; the first report is a snapshot, which is a duplicate later."""
        self.socket.close()
        self.socket = socket.create_connection(self._address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(self._first)
        self._number = max(self._number, int(str(load.answer(self.socket)["acknowledged"])))
        self._came = b""

    def send(self) -> None:
        """Send the next report."""
        self._number += 1
        self.socket.sendall((b"%d" % self._number).join(self._parts))

    def is_acknowledged(self) -> bool:
        """Read what has come; an error when it is anything but the number that was sent."""
        self._came += self.socket.recv(65536)
        found = _ACKNOWLEDGED.search(self._came)
        if found is None and b'{"' not in self._came and self._came:
            return False  # the head came alone
        if found is None or int(found[1]) != self._number:
            raise RuntimeError(f"{self._number} was sent, and the answer is {self._came!r}")
        self._came = b""
        return True


def measure(folder: Path) -> None:
    """Print the figures for each number of clients, on the disk as it is and on a slow one."""
    print("taking reports: updates a second, commits for each of them, CPU of the manager and of all clients")
    for words, what in (([], "disk as it is"), (load.SLOW.split(), "4 ms more per fsync")):
        if words and not shutil.which(words[0]):
            print(f"  without strace there is nothing to tell of {what}")
            continue
        for count in CLIENTS:
            found = _measure(folder / f"{count}-{bool(words)}", count, words)
            each = f"{found.manager_cpu / found.updates * 1e6:4.0f} + {found.clients_cpu / found.updates * 1e6:3.0f} µs"
            rate, commits = found.updates / found.seconds, found.commits / found.updates
            print(
                f"  {count:4} clients  {what:20}  {rate:7.0f} /s  {commits:.3f} commits per update  {each} of CPU each"
            )


def _measure(folder: Path, clients: int, before: list[str]) -> Figures:
    folder.mkdir(parents=True)
    manager = Manager(folder)
    tokens = {f"w{number}": manager.token(f"w{number}") for number in range(clients)}
    with load.serving(manager, *before) as server:
        told: SimpleQueue[Figures | None] = _CONTEXT.SimpleQueue()
        process = _CONTEXT.Process(target=_drive, args=(load.place(manager), tokens, told))
        process.start()
        told.get()
        used, changes = usage.cpu(server), _changes(manager)
        found = told.get()
        if found is None:
            raise RuntimeError("the clients failed")
        found = found._replace(manager_cpu=usage.cpu(server) - used, commits=_changes(manager) - changes)
        process.join()
    return found


def _changes(manager: Manager) -> int:
    """Each commit that has news counts one change."""
    with manager.store() as store:
        return store.changes()


def _drive(address: tuple[str, int], tokens: dict[str, str], told: "SimpleQueue[Figures | None]") -> None:
    """Let every client send for SECONDS; reports that all are ready, and then the results."""
    try:
        clients = [Client(address, name, token) for name, token in tokens.items()]
        for client in clients:
            client.connect()
        told.put(None)
        told.put(sending(clients, SECONDS))
    finally:
        told.put(None)  # nobody shall wait for what failed


def sending(clients: Sequence[Connected], seconds: float) -> Figures:
    """Let clients send reports for so long; returns when each has been acknowledged its last one."""
    began, used, updates = time.perf_counter(), time.process_time(), 0
    waiting = {client.socket.fileno(): client for client in clients}
    with select.epoll() as poll:
        for number, client in waiting.items():
            poll.register(number, select.EPOLLIN)
            client.send()
        while waiting:
            for number, _ in poll.poll():
                if not waiting[number].is_acknowledged():
                    continue
                updates += 1
                if time.perf_counter() < began + seconds:
                    waiting[number].send()
                else:
                    poll.unregister(number)  # the server may close it while others still wait
                    del waiting[number]
    return Figures(updates, time.perf_counter() - began, time.process_time() - used)


def _request(name: str, token: str, kind: str) -> bytes:
    now = time.time()  # what lies in the future costs more, since it is kept what it was limited to
    status = status_of(at=now, run=run_of(int(PLACE), ended_at=now))
    report = report_of(int(PLACE), status, kind=kind)._replace(made_at=now)
    return load.request(envelope_of(report, worker=name, sent_at=now), token)
