"""How many reports the manager keeps in a second, and how many of them share a commit.

Clients are processes of their own with kept connections and raw sockets, each a worker with a token; the manager is a
real `serve` that validates and commits to a real disk. With strace each fsync takes 4 ms more, as on a disk that spins.
"""

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any

from schemas.report import SNAPSHOT
from tests.sitegen.kit import Manager, end, envelope_of, plain, report_of, run_of, status_of, wait_for

CLIENTS = (1, 8, 32, 128)
SECONDS = 4.0
FIRST = 1_000_001
PLACE = b"7777777"
SLOW = "strace -f --seccomp-bpf -qq -o /dev/null -e inject=fsync,fdatasync:delay_exit=4000"


def measure(folder: Path) -> None:
    """Print the figures for each number of clients, on the disk as it is and on a slow one."""
    print("taking reports: updates a second, commits for each of them")
    for words, what in (([], "disk as it is"), (SLOW.split(), "4 ms more per fsync")):
        if words and not shutil.which(words[0]):
            print(f"  without strace there is nothing to tell of {what}")
            continue
        for count in CLIENTS:
            updates, commits = _measure(folder / f"{count}-{bool(words)}", count, words)
            print(f"  {count:4} clients  {what:20}  {updates:7.0f} /s  {commits:.3f} commits per update")


def _measure(folder: Path, clients: int, before: list[str]) -> tuple[float, float]:
    folder.mkdir(parents=True)
    manager = Manager(folder)
    tokens = {f"w{number}": manager.token(f"w{number}") for number in range(clients)}
    command = [*before, sys.executable, "-m", "sitegen", "serve", "--settings", str(manager.settings_file)]
    with subprocess.Popen(command, text=True, stderr=subprocess.PIPE) as process:
        try:
            wait_for(lambda: _answers(manager), "serve answers")
            updates, commits = _drive(manager, tokens)
        finally:
            _end(process, traced=bool(before))
    manager.session.close()
    return updates / SECONDS, commits / max(updates, 1)


def _end(process: "subprocess.Popen[str]", *, traced: bool) -> None:
    """End the server; strace, told to end, would only leave it alone."""
    if traced:
        (server,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(server), signal.SIGTERM)
        process.communicate(timeout=20)
    end(process)


def _answers(manager: Manager) -> bool:
    host, port = manager.address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def _drive(manager: Manager, tokens: dict[str, str]) -> tuple[int, int]:
    """Let every client send for SECONDS; gives how many updates were acknowledged, and in how many commits."""
    context = multiprocessing.get_context("fork")
    ready, over, done = context.Barrier(len(tokens) + 1), context.Event(), context.SimpleQueue()
    host, port = manager.address.split(":")
    started = [
        context.Process(target=_client, args=((host, int(port)), name, token, ready, over, done))
        for name, token in tokens.items()
    ]
    for process in started:
        process.start()
    ready.wait()
    before = _changes(manager)
    time.sleep(SECONDS)
    over.set()
    updates = sum(done.get() for _ in started)
    for process in started:
        process.join()
    return updates, _changes(manager) - before


def _changes(manager: Manager) -> int:
    """Each commit that has news counts one change."""
    with manager.store() as store:
        return store.changes()


def _client(address: tuple[str, int], name: str, token: str, ready: Barrier, over: Event, done: Any) -> None:
    request, number = _request(name, token, "change"), FIRST
    first = _request(name, token, SNAPSHOT).replace(PLACE, b"%d" % number)
    with socket.create_connection(address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(first)
        _answer(connection)
        ready.wait()
        while not over.is_set():
            number += 1
            connection.sendall(request.replace(PLACE, b"%d" % number))
            answer = _answer(connection)
            if answer.get("acknowledged") != number:
                raise RuntimeError(f"{name} sent {number} and was told {answer}")
    done.put(number - FIRST)


def _request(name: str, token: str, kind: str) -> bytes:
    """A request with PLACE where the report's number is, which always has as many digits."""
    report = report_of(int(PLACE), status_of(run=run_of(int(PLACE))), kind=kind)
    body = json.dumps(plain(envelope_of(report, worker=name))).encode()
    head = [
        "POST /api/v1/reports HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {token}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def _answer(connection: socket.socket) -> dict[str, object]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += connection.recv(65536)
    found: dict[str, object] = json.loads(body)
    return found
