"""What the statuses cost that tunasync's workers post, beside our own workers' reports of the same minute.

    python -m tests.bench.tunasync_posts                       # our own `serve`, and the ratios to our own reports
    python -m tests.bench.tunasync_posts --beside HOST:PORT --process ID   # and another manager, such as tunasync's own

Each client is a worker of one mirror with a kept connection. It posts the next status when the last one is answered.
"""

import argparse
import itertools
import json
import shutil
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import ingest, load, usage
from tests.bench.ingest import Connected
from tests.bench.scenario import RATE
from tests.bench.usage import Figures
from tests.sitegen.kit import Manager

CLIENTS = 32
SECONDS = 1.5
ROUNDS = 7
SETTINGS: dict[str, Any] = {
    "tunasync": {"writes_from": ["127.0.0.0/8"]},
    "limits": {"rate": 1_000_000, "burst": 1_000_000, "connections_per_address": 1000},
}
"""Of a manager to which all clients come from one address."""

_WORDS = ("pre-syncing", "syncing", "success", "failed")


class Client:
    """The connection of one tunasync worker; the same interface as that of `ingest.Client`."""

    def __init__(self, address: tuple[str, int], name: str) -> None:
        self._address = address
        self._register = request("/workers", {"id": name, "url": f"http://{name}.example.org:6000/", "token": ""})
        path = f"/workers/{name}/jobs/debian"
        self._posts = itertools.cycle([request(path, status(name, word)) for word in _WORDS])
        self._came = b""
        self.socket = socket.socket()

    def connect(self) -> None:
        """Open a new connection and register."""
        self.open()
        self.socket.sendall(self._register)
        load.answer(self.socket)

    def open(self) -> None:
        """Open a new connection without a request."""
        self.socket.close()
        self.socket = socket.create_connection(self._address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._came = b""

    def send(self) -> None:
        """Post the next status."""
        self.socket.sendall(next(self._posts))

    def is_acknowledged(self) -> bool:
        """Read what has come; an error when it is not the job of this worker."""
        came = self.socket.recv(65536)
        if not came:
            raise RuntimeError("the manager hung up")
        self._came += came
        head, _, body = self._came.partition(b"\r\n\r\n")
        if not body.endswith(b"}"):
            return False
        if not head.startswith(b"HTTP/1.1 200") or b'"name":"debian"' not in body:
            raise RuntimeError(f"the answer is {self._came!r}")
        self._came = b""
        return True


def take(server: int, clients: Sequence[Connected]) -> Figures:
    """Let the clients post for a while; figures of the server for one post."""
    for client in clients:
        client.connect()
    used, written = usage.cpu(server), usage.written(server)
    found = ingest.sending(clients, SECONDS)
    figures = {usage.CPU: (usage.cpu(server) - used) * 1000, usage.WRITTEN: usage.written(server) - written}
    return {**{name: value / found.updates for name, value in figures.items()}, RATE: found.updates / found.seconds}


def take_counted(server: int, clients: Sequence[Connected]) -> Figures:
    """The same under strace: system calls and fsyncs for one post."""
    for client in clients:
        client.connect()
    figures: dict[str, float] = {}
    with usage.counting(server, figures):
        for client in clients:
            if isinstance(client, Client):
                client.open()  # attaching can take longer than the server keeps an idle connection
        found = ingest.sending(clients, SECONDS)
    return {name: value / found.updates for name, value in figures.items()}


def clients_at(address: tuple[str, int]) -> list[Client]:
    """As many workers of tunasync as the bench has clients."""
    return [Client(address, f"go{number}") for number in range(CLIENTS)]


def main() -> None:
    """Print the figures of posts, of our own reports, and of another manager if one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", metavar="HOST:PORT", help="another manager that speaks tunasync's protocol")
    parser.add_argument("--process", type=int, metavar="ID", help="its process, on this machine")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="posts-"))
    try:
        manager = Manager(folder, **SETTINGS)
        tokens = {f"w{number}": manager.token(f"w{number}") for number in range(CLIENTS)}
        with load.serving(manager) as server:
            address = load.place(manager)
            own = [ingest.Client(address, name, token) for name, token in tokens.items()]
            sides: dict[str, tuple[int, Sequence[Connected]]] = {
                "posts": (server, clients_at(address)),
                "own reports": (server, own),
            }
            if arguments.beside:
                host, port = arguments.beside.rsplit(":", 1)
                sides["posts to the other"] = arguments.process, clients_at((host, int(port)))
            _print(sides, arguments.rounds)
    finally:
        shutil.rmtree(folder)


def _print(sides: dict[str, tuple[int, Sequence[Connected]]], rounds: int) -> None:
    costs = [{name: take(*side) for name, side in sides.items()} for _ in range(rounds)]
    counts = [{name: take_counted(*side) for name, side in sides.items()}] if usage.can_count() else []
    print(f"{CLIENTS} clients, for each post or report: medians, and posts as a multiple of the other")
    for found in (costs, counts):
        for figure in found[0]["posts"] if found else ():
            for name in sides:
                ratio = median(each["posts"][figure] / (each[name][figure] or 1e-9) for each in found)
                value = median(each[name][figure] for each in found)
                print(f"  {figure:28}{name:20}{value:12,.4g}{ratio:10.2f}", flush=True)


def status(worker: str, word: str) -> dict[str, object]:
    """A status as tunasync's worker writes it."""
    zero = "0001-01-01T00:00:00Z"
    return {
        "name": "debian", "worker": worker, "is_master": True, "status": word, "last_update": zero,
        "last_started": zero, "last_ended": zero, "next_schedule": zero,
        "upstream": "rsync://ftp.example.org/debian/", "size": "unknown", "error_msg": "",
    }  # fmt: skip


def request(path: str, content: dict[str, object]) -> bytes:
    body = json.dumps(content, separators=(",", ":")).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/json; charset=utf-8\r\nAccept-Encoding: gzip\r\n\r\n"
    )
    return head.encode() + body


if __name__ == "__main__":
    main()
