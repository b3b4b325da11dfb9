"""Real processes of our two commands, without the time that each start would take to import the same modules again.

Tests start `skipjack` and `skipjack-manager` more than a thousand times, and most of what a start costs are imports. So
one process for each command, the nursery, has them imported, and what a test starts is a fork of it: a process with its
own number, descriptors, environment, working folder and umask, which runs the command's `main`. What our commands start
in turn is started as anywhere, but for the publisher of a manager where a test asks for it: `in_use(publisher=True)`.

Only within `in_use`. Benchmarks, the demo and the system tests start the programs themselves, and so do tests that are
about the start.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
COMMANDS = {"skipjack": "runner.cli", "skipjack-manager": "sitegen.cli"}
MODULES = {
    "sitegen": "sitegen.cli",
    "tests.runner.journaled_sync": "tests.runner.journaled_sync",
    "tests.runner.killed_sync": "tests.runner.killed_sync",
}
"""Programs that are started as `python -m`, each with the module that has its `main`."""

HEAVY = {"runner": ("git", "jsonschema"), "sitegen": ("git", "jsonschema", "uvloop", "httptools")}
"""Each package of Skipjack with the modules that it imports only when needed."""

_ENVIRONMENT = dict(os.environ)
"""As it was before any test changed it."""

_UMASK = re.compile(r"^Umask:\s*([0-7]+)$", re.MULTILINE)
_PID = struct.Struct("i")
_MOST = 1 << 17
"""Bytes that a request may have: words and an environment."""

_nurseries: dict[str, "_Nursery"] = {}
_starting = threading.Lock()
_used = _publisher = False


@contextmanager
def in_use(*, publisher: bool = False) -> Iterator[None]:
    """Let tests of this process start our commands as forks, and perhaps `serve` its publisher."""
    global _used, _publisher
    before, (_used, _publisher) = (_used, _publisher), (True, publisher)
    try:
        yield
    finally:
        _used, _publisher = before
        while _nurseries and not _used:
            _nurseries.popitem()[1].end()


@contextmanager
def out_of_use() -> Iterator[None]:
    """Let tests start the programs themselves, for what is about their processes."""
    global _used
    before, _used = _used, False
    try:
        yield
    finally:
        _used = before


def popen(words: list[str], **options: Any) -> "subprocess.Popen[Any]":
    """Start a process as Popen does; one of our commands is a fork if `in_use` was called."""
    module = _module(words) if _used else None
    return subprocess.Popen(words, **options) if module is None else _Forked(words, **options)


def run(words: list[str], timeout: float, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Start a process, wait at most `timeout` seconds for its end, and return what it printed."""
    with popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def _module(words: list[str]) -> str | None:
    """The module whose `main` a command line runs, if it is one of our commands."""
    words = _without_option(words)
    if words[:2] == [sys.executable, "-m"]:
        return MODULES.get(words[2])
    path = Path(words[0])
    return COMMANDS.get(path.name) if path.parent == Path(sys.executable).parent else None


def _without_option(words: list[str]) -> list[str]:
    """The same without `-P`: no module is imported any more that a file in the current folder could replace."""
    return [word for word in words if word != "-P"]


class _Forked(subprocess.Popen[Any]):
    """A Popen whose process is a child of a nursery, which reports its end."""

    _reply = -1

    def _execute_child(
        self, args: list[str], _executable: None, _preexec: None, _close_fds: bool, _pass_fds: tuple[()],
        cwd: str | None, env: Mapping[str, str] | None, _startup: None, _flags: int, _shell: bool,
        p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int, errread: int, errwrite: int,
        _signals: bool, _gid: None, _gids: None, _uid: None, _umask: int, own_session: bool, *_more: object,
    ) -> None:  # fmt: skip
        module, args = _module(args), _without_option(args)
        assert module is not None
        words = [args[0], *map(str, args[3 if args[1:2] == ["-m"] else 1 :])]
        request = {
            "module": module,
            "words": words,
            "cwd": str(cwd or Path.cwd()),
            "umask": int(_UMASK.search(Path("/proc/self/status").read_text())[1], 8),  # type: ignore[index]
            "env": dict(os.environ if env is None else env),
            "session": own_session,
            "publisher": _publisher,
        }
        ours, theirs = os.pipe()
        descriptors = [given if given >= 0 else usual for usual, given in enumerate((p2cread, c2pwrite, errwrite))]
        try:
            _nursery("sitegen" if module == "sitegen.cli" else "runner").ask(
                json.dumps(request).encode(), [*descriptors, theirs]
            )
        finally:
            os.close(theirs)
        self._reply = ours
        self.pid = self._read()
        self._child_created = True
        self._close_pipe_fds(  # type: ignore[attr-defined]
            p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite
        )

    def _read(self) -> int:
        told = os.read(self._reply, _PID.size)
        if len(told) != _PID.size:
            raise RuntimeError("the nursery that tests start our commands from has died")
        return int(_PID.unpack(told)[0])

    def _has_reply(self) -> bool:
        poll = select.poll()  # select(2) takes no descriptor above 1023
        poll.register(self._reply, select.POLLIN)
        return bool(poll.poll(0))

    def _try_wait(self, flags: int) -> tuple[int, int]:
        if flags & os.WNOHANG and not self._has_reply():
            return 0, 0
        status = self._read()
        os.close(self._reply)
        return self.pid, status

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        lock: threading.Lock = self._waitpid_lock  # type: ignore[attr-defined]
        if not lock.acquire(blocking=False):
            return None  # another thread waits for its end
        try:
            if self.returncode is None:
                pid, status = self._try_wait(os.WNOHANG)
                if pid:
                    self._handle_exitstatus(status)  # type: ignore[attr-defined]
        finally:
            lock.release()
        return self.returncode


class _Line:
    """A connection to a process that forks."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def ask(self, request: bytes, descriptors: list[int]) -> None:
        """Let it fork."""
        socket.send_fds(self._connection, [request], descriptors)


class _Nursery(_Line):
    """A process that forks, and the connection to it. It ends when the connection does."""

    def __init__(self, package: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        super().__init__(ours)
        with theirs:
            words = [sys.executable, "-m", "tests.prepared", package, str(theirs.fileno())]
            self._process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=REPOSITORY, env=_ENVIRONMENT,
                pass_fds=[theirs.fileno()],
            )  # fmt: skip

    def end(self) -> None:
        """Let it end, and wait for that."""
        self._connection.close()
        self._process.wait()


_inherited: _Line | None = None
"""The connection of a fork that starts forks in turn."""


def _nursery(package: str) -> _Line:
    """The nursery that has a package imported, which is started when it is first needed."""
    if _inherited is not None:
        return _inherited
    with _starting:
        if package not in _nurseries:
            _nurseries[package] = _Nursery(package)
        return _nurseries[package]


def _grow(connection: socket.socket) -> Callable[[], int]:
    """Fork for each request; returns the program to run in each fork, and never in the nursery."""
    ended, mark = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    inner, of_forks = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(mark)
    children: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([connection.fileno(), inner.fileno(), ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _report_ends(children)
        for each in (connection, inner):
            if each.fileno() not in ready:
                continue
            request, descriptors, _, _ = socket.recv_fds(each, _MOST, 4)
            if not request:
                os._exit(0)  # the tests are over
            *streams, reply = descriptors
            asked = json.loads(request)
            main: Callable[[], int] = importlib.import_module(asked["module"]).main
            pid = os.fork()
            if pid == 0:
                for descriptor in (connection.detach(), inner.detach(), ended, mark, reply, *children.values()):
                    os.close(descriptor)
                _become(asked, streams)
                if asked["publisher"]:
                    _fork_the_publisher(of_forks)
                else:
                    of_forks.close()
                return main
            for descriptor in streams:
                os.close(descriptor)
            os.write(reply, _PID.pack(pid))
            children[pid] = reply


def _report_ends(children: dict[int, int]) -> None:
    """Write the wait status of each child that has ended to the process that started it."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        reply = children.pop(pid)
        try:
            os.write(reply, _PID.pack(status))
        except BrokenPipeError:
            pass  # no process waits for it any longer
        finally:
            os.close(reply)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Take on what a new process is given: signals, descriptors, words, environment, mask of modes, working folder."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.argv[:] = request["words"]
    os.environ.clear()
    os.environ.update(request["env"])
    time.tzset()
    os.umask(request["umask"])
    os.chdir(request["cwd"])
    if request["session"]:
        os.setsid()


def _fork_the_publisher(connection: socket.socket) -> None:
    """Let the process that `serve` becomes ask the nursery for its publisher."""
    global _inherited
    _inherited = _Line(connection)
    process = sys.modules.get("sitegen.process")
    if process is not None:
        names = {name: getattr(subprocess, name) for name in ("PIPE", "TimeoutExpired")}
        vars(process)["subprocess"] = SimpleNamespace(Popen=_Forked, **names)


def _import_all(package: str) -> None:
    """Import everything that a program of a package may need."""
    for each in (package, "schemas"):
        path = importlib.import_module(each).__path__
        for found in pkgutil.walk_packages(path, f"{each}."):
            if not found.name.endswith((".__main__", ".lean")):
                importlib.import_module(found.name)
    for name in HEAVY[package]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def _ended(code: int) -> int:
    """End as an interpreter ends, but leave what is in memory as it is: to take it apart would copy it first."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return code  # the interpreter has its own words and exit code for this
    os._exit(code)


def _main() -> int:
    package, descriptor = sys.argv[1:]
    _import_all(package)
    return _ended(_grow(socket.socket(fileno=int(descriptor)))())


if __name__ == "__main__":
    sys.exit(_main())
