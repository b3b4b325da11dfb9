"""What a schedule costs the manager that a tunasync worker sends: all its mirrors, of which one or all have a new time.

    python -m tests.bench.tunasync_schedules                       # our own `serve`
    python -m tests.bench.tunasync_schedules --beside HOST:PORT --process ID   # and another manager, such as tunasync's

The schedule names every mirror of the worker again after each run of any of them.
"""

import argparse
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

from tests.bench import load, usage
from tests.bench.tunasync_posts import SETTINGS, request, status
from tests.bench.usage import Figures
from tests.sitegen.kit import Manager

SIZES = (100, 1000)
ROUNDS = 15
_BEGIN = datetime(2026, 11, 22, tzinfo=UTC)


class Worker:
    """A tunasync worker with so many mirrors, and its connection."""

    def __init__(self, address: tuple[str, int], mirrors: int) -> None:
        self._name, self._address = f"go{mirrors}", address
        self._times = {f"mirror-{number}": 0 for number in range(mirrors)}
        self._minutes = 0
        self._send("/workers", {"id": self._name, "url": f"http://{self._name}.example.org:6000/", "token": ""})
        with socket.create_connection(address) as connection:
            for mirror in self._times:
                path = f"/workers/{self._name}/jobs/{mirror}"
                connection.sendall(request(path, status(self._name, "success") | {"name": mirror}))
                load.answer(connection)
        self.all_new()

    def all_new(self) -> None:
        """Send a schedule in which every time is another one."""
        self._change(self._times)

    def one_new(self) -> None:
        """Send a schedule in which one time is another one."""
        self._change(["mirror-7"])

    def none_new(self) -> None:
        """Send the last schedule again."""
        self._change([])

    def _change(self, mirrors: Iterable[str]) -> None:
        self._minutes += 1
        self._times |= dict.fromkeys(mirrors, self._minutes)
        times = {mirror: (_BEGIN + timedelta(minutes=at)).isoformat() for mirror, at in self._times.items()}
        schedules = [{"name": mirror, "next_schedule": at} for mirror, at in times.items()]
        self._send(f"/workers/{self._name}/schedules", {"schedules": schedules})

    def _send(self, path: str, content: dict[str, object]) -> None:
        with socket.create_connection(self._address) as connection:
            connection.sendall(request(path, content))
            load.answer(connection)


def cost(server: int, send: Callable[[], None]) -> float:
    """CPU milliseconds of the server for one message."""
    used = usage.cpu(server)
    send()
    return (usage.cpu(server) - used) * 1000


def costs(server: int, send: Callable[[], None]) -> Figures:
    """The same as a figure, beside the bytes that were written."""
    written = usage.written(server)
    milliseconds = cost(server, send)
    return {usage.CPU: milliseconds, usage.WRITTEN: usage.written(server) - written}


def counted(server: int, send: Callable[[], None]) -> Figures:
    """System calls and fsyncs of one message, under strace."""
    figures: dict[str, float] = {}
    with usage.counting(server, figures):
        send()
    return figures


def main() -> None:
    """Print the CPU of each kind of schedule, and as a multiple of another manager's if one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", metavar="HOST:PORT", help="another manager that speaks tunasync's protocol")
    parser.add_argument("--process", type=int, metavar="ID", help="its process, on this machine")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--mirrors", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="schedules-"))
    try:
        manager = Manager(folder, **SETTINGS)
        with load.serving(manager) as server:
            sides = [(server, load.place(manager))]
            if arguments.beside:
                host, port = arguments.beside.rsplit(":", 1)
                sides.append((arguments.process, (host, int(port))))
            for mirrors in arguments.mirrors:
                _print(mirrors, [(side, Worker(address, mirrors)) for side, address in sides], arguments.rounds)
    finally:
        shutil.rmtree(folder)


def _print(mirrors: int, sides: list[tuple[int, Worker]], rounds: int) -> None:
    for what, send in (("none", Worker.none_new), ("one", Worker.one_new), ("all", Worker.all_new)):
        found = [[cost(server, partial(send, worker)) for server, worker in sides] for _ in range(rounds)]
        values = " / ".join(f"{median(each):.1f}" for each in zip(*found, strict=True))
        ratio = f", {median(each[0] / each[1] for each in found):.2f} times the other" if len(sides) > 1 else ""
        print(f"{mirrors} mirrors, {what} with a new time: {values} CPU ms{ratio}", flush=True)


if __name__ == "__main__":
    main()
