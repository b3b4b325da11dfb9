"""How often the list of all mirrors can be read from the manager itself; sites serve it from files, which is faster.

The baseline is to read the rows and write the list for each request, as tunasync's manager does: one such list after
the other in a process of its own, without HTTP.
"""

import json
import multiprocessing
import socket
import time
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from schemas.report import SNAPSHOT
from sitegen import tunasync
from sitegen.judge import judge
from tests.bench import load
from tests.sitegen.kit import Manager, envelope_of, report_of, run_of, status_of

COUNTS = (1000, 10_000)
CLIENTS = 8
SECONDS = 3.0

_CONTEXT = multiprocessing.get_context("fork")


def measure(folder: Path) -> None:
    """Print the figures for each number of mirrors, for clients that can unpack gzip and for others."""
    print("reading /jobs from the manager: answers a second, against writing the list anew for each (goal: 100 times)")
    for count in COUNTS:
        (folder / str(count)).mkdir(parents=True)
        manager = Manager(folder / str(count))
        manager.store().close()
        reader = manager.token("rob", "read")  # who has a token is not held back
        worker = manager.token("w1")
        statuses = [status_of(f"mirror-{number}", run=run_of(number + 1)) for number in range(count)]
        with load.serving(manager):
            manager.post(envelope_of(report_of(1, *statuses, kind=SNAPSHOT)), worker).raise_for_status()
            base = _by_hand(manager)
            for what, header in (("plain", ""), ("gzip", "Accept-Encoding: gzip\r\n")):
                request = f"GET /jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {reader}\r\n{header}\r\n".encode()
                rate = _rate(load.place(manager), request)
                print(f"  {count:6} mirrors  {what:5}  {rate:6.0f} /s  by hand {base:5.1f} /s  ratio {rate / base:.0f}")


def _by_hand(manager: Manager) -> float:
    """Lists a second."""
    began, made = time.perf_counter(), 0
    with manager.store() as store:
        while time.perf_counter() < began + SECONDS:
            json.dumps(tunasync.jobs(judge(store.facts(), time.time())))
            made += 1
    return made / (time.perf_counter() - began)


def _rate(address: tuple[str, int], request: bytes) -> float:
    """Answers a second to CLIENTS that ask all the time."""
    told: SimpleQueue[int] = _CONTEXT.SimpleQueue()
    clients = [_CONTEXT.Process(target=_ask, args=(address, request, told)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    found = sum(told.get() for _ in clients)
    for client in clients:
        client.join()
    return found / SECONDS


def _ask(address: tuple[str, int], request: bytes, told: "SimpleQueue[int]") -> None:
    answers, room = 0, memoryview(bytearray(1024**2))
    with socket.create_connection(address) as connection:
        until = time.perf_counter() + SECONDS
        while time.perf_counter() < until:
            connection.sendall(request)
            _pass_over(connection, room)
            answers += 1
    told.put(answers)


def _pass_over(connection: socket.socket, room: memoryview) -> None:
    """Read an answer to its end without looking at it; an error when it is a refusal."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(head.decode())
    left = int(head.lower().partition(b"content-length:")[2].split()[0]) - len(body)
    while left > 0:
        left -= connection.recv_into(room, min(left, len(room)))
