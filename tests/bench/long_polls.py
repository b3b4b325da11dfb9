"""How long a command takes to a worker when very many hold a request open for theirs.

The delay counts from the operator's request to the worker's answer, with the commit of the command and of the line in
the audit in between. Beside it the same with a single worker, which shows what the many cost.
"""

import json
import select
import socket
import statistics
import time
from pathlib import Path
from typing import NamedTuple

from tests.bench import load, usage
from tests.sitegen.kit import Manager, envelope_of

HELD = (1, 1000)
COMMANDS = 300


class Figures(NamedTuple):
    """Seconds of each command; CPU seconds and the most memory (MB) of the manager."""

    delays: list[float]
    cpu: float
    memory: float


def measure(folder: Path) -> None:
    """Print the figures for each number of held requests."""
    print("a command through a held request: from the operator's request to the worker's answer")
    for count in HELD:
        found = _measure(folder / str(count), count)
        p50, p99 = (statistics.quantiles(found.delays, n=100)[place] * 1000 for place in (49, 98))
        each = found.cpu / COMMANDS * 1000
        print(f"  {count:5} held  p50 {p50:5.1f} ms  p99 {p99:5.1f} ms  {each:4.1f} ms of CPU  {found.memory:4.0f} MB")


def _measure(folder: Path, count: int) -> Figures:
    folder.mkdir(parents=True)
    manager = Manager(folder, limits={"connections_per_address": 2 * count + 10})
    tokens = {f"w{number}": manager.token(f"w{number}") for number in range(count)}
    operator = manager.token("alice", "operator")
    with load.serving(manager) as server:
        workers = [_Worker(load.place(manager), name, token) for name, token in tokens.items()]
        used = usage.cpu(server)
        delays = [_command(load.place(manager), operator, workers[turn % count]) for turn in range(COMMANDS)]
        used = usage.cpu(server) - used
        for worker in workers:
            worker.connection.close()
        return Figures(delays, used, load.resident(server))


class _Worker:
    """A worker that has reported to the manager and waits for the answer of a long poll."""

    def __init__(self, address: tuple[str, int], name: str, token: str) -> None:
        self.name, self._token = name, token
        self.connection = socket.create_connection(address)
        self.connection.sendall(load.request(envelope_of(worker=name), token))
        load.answer(self.connection)
        self.newest = 0
        self.hold()

    def hold(self) -> None:
        """Hold a request for what comes after the newest."""
        path = f"/api/v1/commands?worker={self.name}&after={self.newest}&wait=60"
        self.connection.sendall(_head("GET", path, self._token) + b"\r\n")

    def take(self) -> None:
        """Wait for a command, its number one more than the last one's; a request that ends without one is repeated."""
        found: list[dict[str, int]] = []
        while not found:
            answer = load.answer(self.connection)
            found = answer["commands"]  # type: ignore[assignment] # JSON
            if not found:
                self.hold()
        if [command["number"] for command in found] != [self.newest + 1]:
            raise RuntimeError(f"{self.name} has {self.newest} and was told {found}")
        self.newest += 1


def _command(address: tuple[str, int], operator: str, worker: _Worker) -> float:
    """Give a worker a command; gives the seconds until it has it."""
    body = json.dumps({"kind": "ping", "worker": worker.name}).encode()
    with socket.create_connection(address) as connection:
        began = time.perf_counter()
        connection.sendall(
            _head("POST", "/api/v1/commands", operator) + b"Content-Length: %d\r\n\r\n" % len(body) + body
        )
        select.select([worker.connection], [], [])
        worker.take()
        delay = time.perf_counter() - began
        load.answer(connection)
    worker.hold()
    return delay


def _head(method: str, path: str, token: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n".encode()
