"""A manager under load: a real `serve`, what it costs by the kernel's accounting, and the raw requests of workers."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from schemas.report import Envelope
from tests.sitegen.kit import Manager, end, plain, wait_for

_FSYNC = "fsync,fdatasync"
SLOW = f"strace -f --seccomp-bpf -qq -o /dev/null -e trace={_FSYNC} -e inject={_FSYNC}:delay_exit=4000"
"""Put before a command, each of its fsyncs takes 4 ms more, as on a disk that spins. Without the `trace` strace would
stop at every system call."""


@contextmanager
def serving(
    manager: Manager, *before: str, publisher: bool = False, program: Sequence[str] = (sys.executable, "-m", "sitegen")
) -> Iterator[int]:
    """A server, alone or with its publisher; gives its process id. The words `before` run it, as SLOW does.

    `program` is how `skipjack-manager` is started.
    """
    words = ["serve", *(["--publish"] if publisher else [])]
    command = [*before, *program, *words, "--settings", str(manager.settings_file)]
    with subprocess.Popen(command, text=True, stderr=subprocess.PIPE) as process:
        server = process.pid
        try:
            wait_for(lambda: _answers(manager), "serve answers")
            server = children(process.pid)[0] if before else process.pid
            yield server
        finally:
            with suppress(ProcessLookupError):  # strace, told to end, would only leave it alone
                os.kill(server, signal.SIGTERM)
            end(process)
            manager.session.close()


def _answers(manager: Manager) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(place(manager)) == 0


def place(manager: Manager) -> tuple[str, int]:
    """The address of a manager."""
    host, port = manager.address.split(":")
    return host, int(port)


def children(process: int) -> list[int]:
    """The processes that a process has started, by whichever thread."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return [int(word) for task in tasks for word in (task / "children").read_text().split()]


def resident(process: int) -> float:
    """The most memory that a process has had, in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (peak,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024


def request(envelope: Envelope, token: str) -> bytes:
    """A worker's whole request."""
    body = json.dumps(plain(envelope)).encode()
    head = [
        "POST /api/v1/reports HTTP/1.1",
        "Host: x",
        f"Authorization: Bearer {token}",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def answer(connection: socket.socket) -> dict[str, object]:
    """Read one answer; raise an error if it is a rejection."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += _more(connection)
    if not head.startswith(b"HTTP/1.1 20"):
        raise RuntimeError((head + body).decode())
    found: dict[str, object] = json.loads(body)
    return found


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise RuntimeError("the manager hung up")
    return data
