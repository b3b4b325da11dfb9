"""The real parts that the demo, the end-to-end tests and the benchmarks put together: an upstream, a config
repository, a worker and a manager, each with its files below one folder and its ports chosen by the system."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, Self, TypeVar

import requests

from runner.base.state_dir import StateLayout
from runner.journal import journal
from schemas.report import Run
from sitegen.storage.store import Store
from tests import prepared
from tests.sitegen.kit import free_port as free_port
from tests.sitegen.kit import new_token

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).resolve().parents[2]

PATIENCE = 300.0
"""Seconds after which something counts as never happening. It bounds a hang; a busy machine may be very slow."""

SETTINGS_OF_GIT = """\
[user]
\tname = Ada Admin
\temail = ada@mirrors.example
[remote "origin"]
\turl = {}
\tfetch = +refs/heads/*:refs/remotes/origin/*
"""

T = TypeVar("T")


def end_on_signals(*numbers: signal.Signals) -> None:
    """Let these signals end this program as an exit does, so that its `with` blocks end the servers they started."""

    def end(number: int, _frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)  # one is enough: a second one would cut the blocks short
        sys.exit(128 + number)

    for each in numbers:
        signal.signal(each, end)


def wait_until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """Wait until the condition gives something true, and return it. A slow condition is asked less often."""
    deadline = time.monotonic() + seconds
    while True:
        asked = time.monotonic()
        if result := condition():
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"did not happen within {seconds:.0f} s: {what}")
        time.sleep(max(0.02, 4 * (time.monotonic() - asked)))


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class Server:
    """A process that runs while its `with` block does, its output in a file."""

    def __init__(self, words: list[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self._words, self._log, self._env = words, log, dict(env or {})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; `ready` says when it is up."""
        with self._log.open("ab") as log:
            self.process = prepared.popen(
                self._words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | self._env
            )
        try:
            wait_until(self._is_ready, f"{self._words[0]} is up, see {self._log}")
        except TimeoutError:
            self.stop()
            raise

    def _is_ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"{self._words[0]} ended with {self.process.returncode}: {self._log.read_text()}")
        return self.ready()

    def ready(self) -> bool:
        """Whether it is up; subclasses know better."""
        return True

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and give its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        self.process = None
        return code

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()


def accepts(port: int) -> bool:
    """Return whether a process listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class RsyncDaemon(Server):
    """A real rsync daemon with a module for each folder that it is given."""

    def __init__(self, folder: Path, modules: Mapping[str, Path], options: str = "", uid: int = 0) -> None:
        """`uid` is the user who reads the modules, where the tests' own is root."""
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self._pid_file = free_port(), folder / "rsyncd.pid"
        config = folder / "rsyncd.conf"
        if os.geteuid() == 0:
            options += f"\nuid = {uid}\ngid = {uid}"  # else it reads as nobody, whom a home folder does not let in
        parts = [f"pid file = {self._pid_file}\nuse chroot = no\nlog file = {folder}/rsyncd.log\n{options}\n"]
        parts += [f"[{name}]\npath = {path}\nread only = yes\n" for name, path in modules.items()]
        config.write_text("".join(parts))
        words = ["rsync", "--daemon", "--no-detach", "--address=127.0.0.1", f"--port={self.port}", f"--config={config}"]
        super().__init__(words, folder / "rsyncd.out")

    def ready(self) -> bool:
        """Whether it listens."""
        return accepts(self.port)

    def stop(self, number: int = signal.SIGKILL) -> int:
        """End it; after any other signal rsync sleeps for nearly half a second."""
        code = super().stop(number)
        self._pid_file.unlink(missing_ok=True)
        return code

    def url(self, module: str) -> str:
        """The upstream address of a module."""
        return f"rsync://127.0.0.1:{self.port}/{module}/"


class ConfigRepository:
    """A config repository: a work tree that people commit in, and the bare remote that workers follow."""

    def __init__(self, folder: Path, begun: Path | None = None) -> None:
        """Create one, or copy the one that was created in the folder `begun`."""
        self.tree, self.remote = folder / "config", folder / "config.git"
        if begun is not None:
            for each in (self.tree, self.remote):
                shutil.copytree(begun / each.name, each)
            config = self.tree / ".git/config"
            config.write_text(config.read_text().replace(str(begun / "config.git"), str(self.remote)))
            return
        self.tree.mkdir(parents=True)
        create = ["git", "init", "-q", "-b", "main", "--template="]  # no folder of example hooks
        subprocess.run([*create, "--bare", str(self.remote)], check=True)
        subprocess.run([*create, str(self.tree)], check=True)
        with (self.tree / ".git/config").open("a") as settings:
            settings.write(SETTINGS_OF_GIT.format(self.remote))

    @property
    def url(self) -> str:
        """What a worker's settings name."""
        return f"file://{self.remote}"

    def git(self, *words: str) -> str:
        """Run git in the work tree."""
        done = subprocess.run(["git", "-C", str(self.tree), *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str | None], message: str) -> str:
        """Write files (None removes one), commit and push them; gives the commit."""
        for name, text in files.items():
            path = self.tree / name
            if text is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "-q", "-m", message)
        self.git("push", "-q", "origin", "HEAD")
        return self.git("rev-parse", "HEAD")


class Manager(Server):
    """A real manager: `serve --publish` with SQLite."""

    def __init__(self, folder: Path, repository: str | None = None, site: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.folder, self.site = free_port(), folder, site or folder / "site"
        self.settings = folder / "manager.yml"
        self.settings.write_text(
            f"listen: 127.0.0.1:{self.port}\nstate_dir: {folder}/state\nrun_dir: {folder}/run\nsite_dir: {self.site}\n"
            + (f"repository: {{url: '{repository}'}}\n" if repository else "")
        )
        words = [str(BIN / "skipjack-manager"), "serve", "--publish", "--settings", str(self.settings)]
        super().__init__(words, folder / "manager.log")

    @property
    def url(self) -> str:
        """Where workers report to."""
        return f"http://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return requests.get(f"{self.url}/ping", timeout=300).status_code == 200
        except requests.ConnectionError:
            return False

    def token(self, name: str, scope: str = "worker") -> str:
        """Make a token, without the cost of starting a command."""
        with Store(f"{self.folder}/state") as store:
            return new_token(store, name, scope)

    def operator(self) -> dict[str, str]:
        """The headers of an operator's requests."""
        return {"Authorization": f"Bearer {self.token('alice', 'operator')}"}

    def jobs(self) -> dict[str, dict[str, Any]]:
        """What tunasync's clients see, by mirror."""
        return {job["name"]: job for job in requests.get(f"{self.url}/jobs", timeout=300).json()}

    def job(self, mirror: str) -> dict[str, Any]:
        """What tunasync's clients see of a mirror, once the manager has fetched its definition in the background."""
        wait_until(lambda: mirror in self.jobs(), f"the manager knows {mirror}")
        return self.jobs()[mirror]

    def published(self, name: str = "status.json") -> Any:
        """A JSON file of the site, or None while it is not there."""
        path = self.site / name
        return json.loads(path.read_text()) if path.exists() else None

    def names(self) -> list[str]:
        """The mirrors of the page, none while it is not there."""
        return [each["name"] for each in (self.published() or {"mirrors": []})["mirrors"]]

    def page(self, name: str = "index.html") -> str:
        """A page of the site, which may come later than the JSON about the same; empty while it is not there."""
        path = self.site / name
        return path.read_text() if path.exists() else ""


class Worker:
    """A worker: its settings, and the commands that a person or a timer would give."""

    def __init__(self, folder: Path, name: str, repository: str, manager: Manager | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name, self.root = folder, name, folder / "mirrors"
        self.root.mkdir(exist_ok=True)
        self.state = folder / "state"
        self.settings = folder / "runner.yml"
        filters = folder.parent / "filters"
        filters.mkdir(exist_ok=True)
        (folder / "policy.yml").write_text(f"readable: [{folder.parent}]\npattern_files: [{filters}]\n")
        text = (
            f"worker: {name}\nrepository: {{url: '{repository}'}}\nmirror_root: {self.root}\n"
            f"state_dir: {self.state}\nrun_dir: {folder}/run\nlog_dir: {folder}/logs\npolicy: {folder}/policy.yml\n"
        )
        self.settings.write_text(text)
        if manager is not None:
            self.report_to(manager.url, manager.token(name))

    def report_to(self, url: str, secret: str) -> None:
        """Add a manager to the settings, with the token for it."""
        token = self.folder / "token"
        token.write_text(f"{secret}\n")
        token.chmod(0o600)
        with self.settings.open("a") as settings:
            settings.write(f"manager: {{url: '{url}', token: {{file: {token}}}}}\n")

    def words(self, command: str, *more: str) -> list[str]:
        """The command line of one of the worker's commands."""
        return [str(BIN / "skipjack"), command, *more, "--settings", str(self.settings)]

    def command(self, command: str, *more: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Give one command and wait for its end."""
        done = prepared.run(self.words(command, *more), timeout=300)
        if check and done.returncode != 0:
            raise RuntimeError(f"skipjack {command} exited with {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def start(self, command: str, *more: str, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        """Start one command and do not wait."""
        out = log if log is not None else subprocess.DEVNULL
        return prepared.popen(self.words(command, *more), stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def pending(self) -> int:
        """How many reports wait for the manager."""
        with journal.opened(StateLayout(str(self.state)).journal) as book:
            return book.outbox.pending()

    def run_of(self, mirror: str) -> Run:
        """The mirror's last run, from the journal."""
        with journal.opened(StateLayout(str(self.state)).journal) as book:
            run = book.last_run(mirror)
        assert run is not None, f"{mirror} never ran"
        return run

    def states(self) -> dict[str, str]:
        """Each mirror's status, from the journal."""
        with journal.opened(StateLayout(str(self.state)).journal) as book:
            return {name: state.status for name, state in book.states().items()}

    def messages(self) -> str:
        """What runs and ticks said that no terminal listened to."""
        path = self.state / "messages.log"
        return path.read_text() if path.exists() else ""

    def lock(self, kind: str, name: str) -> str:
        """The path of one of the worker's locks."""
        return StateLayout(str(self.state)).lock(kind, name)


def programs(worker: Worker) -> list[str]:
    """The numbers of the processes that were started for a worker's state directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(worker.state).encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
    return found


def validate(folder: Path) -> str:
    """Check a folder of definitions as CI does; gives what the command says, its log lines last."""
    done = prepared.run([str(BIN / "skipjack"), "validate", str(folder)], timeout=PATIENCE)
    return done.stdout + done.stderr
