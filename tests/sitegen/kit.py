"""Helpers of the manager's tests: messages, and a manager made of real processes."""

import contextlib
import io
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from schemas.config.settings import load_manager
from schemas.records import ManagerSettings
from schemas.report import Envelope, MirrorStatus, Report, Run, encode_content, encode_envelope
from sitegen import cli
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import AuditEntry, Delivery
from sitegen.messages.tunasync_rules import Message
from sitegen.storage import token_store, tunasync_posts
from sitegen.storage.store import Store
from sitegen.storage.tunasync_posts import Post
from tests import prepared

if TYPE_CHECKING:
    import uvicorn

NOW = 1_800_000_000.0
HOUR = 3600.0
JOURNAL = "0123456789abcdef0123456789abcdef"
OLD_REVISION, REVISION = "a" * 40, "b" * 40
PATIENCE = 300.0
"""Seconds to wait for something before a test fails: long, since a busy machine may be very slow."""


def run_of(number: int = 1, status: str = "success", **fields: Any) -> Run:
    ended = fields.setdefault("ended_at", NOW) or NOW
    return Run(number, status, launched_at=ended - 2, started_at=ended - 1, attempts=1)._replace(**fields)


def status_of(mirror: str = "debian", status: str = "success", at: float = NOW, **fields: Any) -> MirrorStatus:
    run = fields.pop("run", run_of(1, status, ended_at=at))
    success = at if status == "success" else None
    basis = MirrorStatus(mirror, f"rsync://up.example.org/{mirror}/", True, status, run, at - 1, at, success, at + HOUR)
    return basis._replace(**fields)


def report_of(number: int, *statuses: MirrorStatus, kind: str = "change", runs: Any = ()) -> Report:
    return Report(number, NOW, kind, statuses, runs)


def envelope_of(*reports: Report, worker: str = "w1", **fields: Any) -> Envelope:
    return Envelope(worker, JOURNAL, NOW, "0.1.0", REVISION, 4, 1, (), reports)._replace(**fields)


def delivery_of(*reports: Report, at: float = NOW, **fields: Any) -> Delivery:
    return Delivery(envelope_of(*reports, **fields), at)


def plain(envelope: Envelope) -> dict[str, Any]:
    reports = [
        {"number": report.number, "made_at": report.made_at, "kind": report.kind}
        | encode_content(report.statuses, report.runs)
        for report in envelope.reports
    ]
    return encode_envelope(envelope, reports)


def message(*reports: Report, **fields: Any) -> bytes:
    return json.dumps(plain(envelope_of(*reports, **fields))).encode()


def post_status(store: Store, worker: str, mirror: str, found: Message, at: int) -> dict[str, Any]:
    """Store one status of a Go worker, `at` in nanoseconds; RejectedRequest as for its request."""
    (told,) = store.write(tunasync_posts.apply_in, [], [Post(worker, mirror, found, at)]).results
    if isinstance(told, RejectedRequest):
        raise told
    return told


def wait_for(question: Callable[[], object], what: str = "") -> None:
    """Wait until a condition is true; fail after PATIENCE. A slow condition is asked less often."""
    deadline = time.monotonic() + PATIENCE
    while True:
        asked = time.monotonic()
        if question():
            return
        assert time.monotonic() < deadline, f"not in {PATIENCE} s: {what}"
        time.sleep(max(0.01, 4 * (time.monotonic() - asked)))


def free_port() -> int:
    """Return a free port outside of the range from which the system picks ports of connections."""
    while True:
        port = 10_000 + secrets.randbelow(22_000)  # not `random`, which tools seed alike everywhere
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def new_token(store: Store, name: str, scope: str) -> str:
    """Create a token as `skipjack-manager token add` does."""
    secret = secrets.token_urlsafe(32)
    by = AuditEntry(time.time(), "tests", "token add", "", "tests", {})
    token_store.add(store, name, scope, token_store.digest_of(secret), by)
    return secret


class Manager:
    """A manager in a folder of its own, with the commands an operator has."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.address}"
        self.settings_file = folder / "manager.yml"
        self.state, self.site, self.run = folder / "state", folder / "site", folder / "run"
        places = {"listen": self.address, "state_dir": str(self.state), "run_dir": str(self.run)}
        self.settings_file.write_text(json.dumps(places | {"site_dir": str(self.site)} | settings))
        self.settings = ManagerSettings(self.address, str(self.state), str(self.run), str(self.site))
        self.pid = 0  # of the command that was started last
        self.session = requests.Session()
        self.session.trust_env = False

    def popen(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "sitegen", *words, "--settings", str(self.settings_file)]
        process = prepared.popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pid = process.pid
        return process

    def command(self, *words: str) -> "subprocess.CompletedProcess[str]":
        with self.popen(*words) as process:
            out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def run_here(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in this process, for tests of its output and not of its start."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = cli.main([*words, "--settings", str(self.settings_file)])
        return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())

    def token(self, name: str = "w1", scope: str = "worker") -> str:
        """Return a new token, created without the cost of starting a command."""
        with self.store() as store:
            return new_token(store, name, scope)

    def store(self) -> Store:
        return Store(str(self.state))

    @contextmanager
    def serving(self, *options: str) -> Iterator["subprocess.Popen[str]"]:
        with self.popen("serve", *options) as process:
            try:
                wait_for(lambda: self._answers(process), "serve answers")
                yield process
            finally:
                end(process)

    @contextmanager
    def answering(self) -> Iterator["uvicorn.Server"]:
        """Serve from a thread of this process, for tests of answers and not of start and end."""
        from sitegen import serve

        with serve.prepared(load_manager(self.settings_file)) as (server, listener):
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                wait_for(lambda: server.started, "serve answers")
                yield server
            finally:
                server.should_exit = True
                usual, serve._LAST_REQUESTS = serve._LAST_REQUESTS, 0.01  # after its `with` block no test sends any
                thread.join()
                serve._LAST_REQUESTS = usual

    def _answers(self, process: "subprocess.Popen[str]") -> bool:
        assert process.poll() is None, process.communicate()
        try:
            return self.session.get(f"{self.url}/ping", timeout=300).status_code == 200
        except requests.ConnectionError:
            return False

    @contextmanager
    def publishing(self) -> Iterator["subprocess.Popen[str]"]:
        with self.popen("publish") as process:
            try:
                wait_for(lambda: (self.site / "status.json").exists() or process.poll(), "the site is there")
                yield process
            finally:
                end(process)

    def post(self, envelope: Envelope, token: str) -> requests.Response:
        return self.post_bytes(json.dumps(plain(envelope)), token)

    def post_bytes(self, body: Any, token: str) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"}
        return self.session.post(f"{self.url}/api/v1/reports", data=body, headers=headers, timeout=300)

    def get(self, path: str) -> Any:
        return self.session.get(f"{self.url}{path}", timeout=300).json()

    def status(self) -> Any:
        return json.loads((self.site / "status.json").read_bytes())


def end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        os.kill(process.pid, signal.SIGTERM)
    process.communicate(timeout=300)
