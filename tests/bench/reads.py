"""How often the list of all mirrors can be read: from the manager itself, and from the site's files by nginx.

The baseline is to read the rows and write the list for each request, as tunasync's manager does: one such list after
the other in a process of its own, without HTTP. What the clients cost is part of every figure, and the largest part
of those of nginx.
"""

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from schemas.report import SNAPSHOT
from sitegen.publish import SitePublisher
from sitegen.site import tunasync
from sitegen.site.evaluate import Evaluator
from tests.bench import load
from tests.sitegen.kit import Manager, envelope_of, free_port, report_of, run_of, status_of, wait_for

COUNTS = (1000, 10_000)
CLIENTS = 8
SECONDS = 3.0

PLAIN_AND_PACKED = (("plain", ""), ("gzip", "Accept-Encoding: gzip\r\n"))

NGINX = """
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
worker_processes auto;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    sendfile on;
    open_file_cache max=100;
    keepalive_requests 10000000;
    default_type application/json;
    gzip_types application/json;
    gzip on;
    server {{ listen 127.0.0.1:{port}; root {site}; }}
}}
"""
"""Compresses each answer again, as nginx does by default; only open files are cached."""

_CONTEXT = multiprocessing.get_context("fork")


def measure(folder: Path) -> None:
    """Print the figures for each number of mirrors, for clients that can unpack gzip and for others."""
    print("reading the list of all mirrors: answers a second, against rendering it for each (goal: 100 times)")
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
            for what, header in PLAIN_AND_PACKED:
                request = f"GET /jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {reader}\r\n{header}\r\n"
                _print(count, f"/jobs by serve, {what}", _rate(load.place(manager), request.encode()), base)
        _measure_files(manager, count, base)


def _measure_files(manager: Manager, count: int, base: float) -> None:
    """Print what nginx makes of the same list among the site's files."""
    if not shutil.which("nginx"):
        print("  without nginx there is nothing to tell of files")
        return
    with manager.store() as store:
        SitePublisher(store, str(manager.site)).publish(time.time())
    with _nginx(manager.folder / "nginx", manager.site) as address:
        for what, header in PLAIN_AND_PACKED:
            request = f"GET /static/tunasync.json HTTP/1.1\r\nHost: x\r\n{header}\r\n".encode()
            _print(count, f"the file by nginx, {what}", _rate(address, request), base)


def _print(count: int, what: str, rate: float, base: float) -> None:
    print(f"  {count:6} mirrors  {what:24}  {rate:6.0f} /s  by hand {base:5.1f} /s  ratio {rate / base:.0f}")


@contextmanager
def _nginx(folder: Path, site: Path) -> Iterator[tuple[str, int]]:
    """Debian's nginx before a site; gives its address."""
    folder.mkdir()
    port, user = free_port(), "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, site=site, port=port, user=user))
    with subprocess.Popen(["nginx", "-p", folder, "-c", configuration, "-e", folder / "error.log"]) as process:
        try:
            wait_for(lambda: _listens(("127.0.0.1", port)), "nginx answers")
            yield "127.0.0.1", port
        finally:
            process.send_signal(signal.SIGTERM)


def _listens(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(address) == 0


def _by_hand(manager: Manager) -> float:
    """Lists a second."""
    began, made = time.perf_counter(), 0
    with manager.store() as store:
        while time.perf_counter() < began + SECONDS:
            snapshot = Evaluator().evaluate(store.facts(), time.time())
            json.dumps([tunasync.job(snapshot, view) for view in snapshot.mirrors])
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
    """Read an answer to its end without parsing it; raise an error if it is a rejection."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise RuntimeError(head.decode())
    length = head.lower().partition(b"content-length:")[2].split()
    if not length:
        _pass_over_chunks(connection, body)
        return
    left = int(length[0]) - len(body)
    while left > 0:
        left -= connection.recv_into(room, min(left, len(room)))


def _pass_over_chunks(connection: socket.socket, body: bytes) -> None:
    """Read until the empty chunk; nothing follows it, since there is no other request before."""
    while not body.endswith(b"\r\n0\r\n\r\n"):
        body = body[-7:] + connection.recv(65536)
