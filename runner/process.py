"""Starting, watching and ending a provider's processes. The only module of the worker that starts any.

A process runs in a session of its own, so that a stop reaches its whole group: TERM, a grace, KILL. It is started by
`posix_spawn`: no Python code runs between fork and exec, and it inherits nothing but what is named.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import NamedTuple

GRACE = 10.0
"""Seconds between TERM and KILL: rsync needs a few to remove its temporary files."""

MESSAGES_BYTES = 1024**2
"""Size at which a file of messages is put aside, in place of the one before."""

_OURS = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "RSYNC_PASSWORD")
_STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_DEFAULTED = (*_STOPS, signal.SIGPIPE)

_SCORE = "/proc/self/oom_score_adj"
_FIRST = 200
"""A fifth of the memory there is, by which a provider seems larger than it is."""

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

_adopting = False
_detached: set[int] = set()

EXITED, TIMED_OUT, INTERRUPTED = "exited", "timed-out", "interrupted"


class Exit(NamedTuple):
    """How a process ended: its exit code (negative for a signal), and whether we ended it and why."""

    code: int
    cause: str = EXITED


class CannotStart(Exception):  # noqa: N818 - what happened, not a fault of ours
    """The program could not be started; the message says why in words."""


class TooSlow(CannotStart):
    """The program gave no answer in time; it may have done what it was asked for."""


class Stop:
    """Remembers that somebody asked this process to stop, and wakes whoever waits for a descriptor."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.descriptor, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def listen(self) -> None:
        """Take TERM, INT and HUP from now on."""
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in _STOPS:
            signal.signal(number, self._on_signal)

    def wait(self, seconds: float) -> bool:
        """Wait that long, or until somebody asks; tells whether somebody has."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        while self.signal is None and (left := deadline - time.monotonic()) > 0:
            if poll.poll(_milliseconds(left)):
                os.read(self.descriptor, 4096)
        return self.signal is not None

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number


def _milliseconds(seconds: float) -> float:
    """A time to wait as poll(2) takes it, which is 24 days at most; whoever waits longer asks again."""
    return min(seconds * 1000 + 1, 2**31 - 1)


Sink = Callable[[bytes], None]
"""Takes a process's output as it comes; empty data is its end."""


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    log: int,
    keep: Sequence[int],
    timeout: float | None,
    stop: Stop,
    sink: Sink | None = None,
) -> Exit:
    """Run one process to its end, its output going to the descriptor `log`, or through a `sink` where there is one.

    `keep` are descriptors that it and its children inherit (locks); `timeout` is in seconds. Whatever is left of its
    group when it ends is killed, and after `adopt_orphans` whatever else descends from us. Raises CannotStart, and
    whatever the sink raises once the process has been ended.
    """
    pid, output = _spawn_into(argv, env, cwd, log, keep, sink)
    watch = os.pidfd_open(pid)
    try:
        cause = _wait(watch, stop, timeout, output)
        if cause != EXITED:
            _end(pid, watch)
    finally:
        _signal_group(pid, signal.SIGKILL)  # the leader is not reaped, so the number still is its group's
        os.close(watch)
        _pid, status = os.waitpid(pid, 0)
        if _adopting:
            _end_descendants()
        if output is not None:
            output.close()
    if output is not None:
        output.end()
    return Exit(os.waitstatus_to_exitcode(status), cause)


class _Output:
    """The reading end of a process's output."""

    def __init__(self, descriptor: int, sink: Sink) -> None:
        self.descriptor: int = descriptor
        self._sink = sink
        self._rest = b""

    def read(self) -> bool:
        """Hand on what is there; False at the end."""
        data = os.read(self.descriptor, 65536)
        if data:
            self._sink(data)
        return bool(data)

    def close(self) -> None:
        """Keep what is left, up to the pipe's own size: all that could write more has been ended."""
        os.set_blocking(self.descriptor, False)
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.descriptor, 65536):
                self._rest += data
        os.close(self.descriptor)

    def end(self) -> None:
        """Hand on what was left, and say that it was all."""
        if self._rest:
            self._sink(self._rest)
        self._sink(b"")


def _spawn_into(
    argv: Sequence[str], env: Mapping[str, str], cwd: str, log: int, keep: Sequence[int], sink: Sink | None
) -> tuple[int, _Output | None]:
    if sink is None:
        return _spawn(argv, env, cwd, log, keep), None
    source, target = os.pipe2(os.O_CLOEXEC)
    try:
        return _spawn(argv, env, cwd, target, keep), _Output(source, sink)
    except CannotStart:
        os.close(source)
        raise
    finally:
        os.close(target)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none can get out of our sight."""
    import ctypes

    global _adopting
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    _adopting = True


def _end_descendants() -> None:
    """Kill what still descends from us, in whatever session, and reap it."""
    while killed := [pid for pid in _children() if _kill(pid)]:
        for pid in killed:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _kill(pid: int) -> bool:
    """Kill a child; False for one that has become another user's, as by sudo, since it might go on for ever."""
    try:
        os.kill(pid, signal.SIGKILL)
    except PermissionError:
        return False
    return True


def _children() -> list[int]:
    with open("/proc/self/task/" + str(os.getpid()) + "/children", encoding="ascii") as file:
        return [int(pid) for pid in file.read().split()]


def become_owner(folder: str) -> None:
    """If we are root and a folder belongs to another user, go on as that user, with its groups and its home."""
    import pwd

    try:
        owner = os.stat(folder).st_uid
        user = pwd.getpwuid(owner)
    except (OSError, KeyError):  # it is not there yet, or belongs to a user whom this machine does not know
        return
    if os.geteuid() != 0 or owner == 0:
        return
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(owner)
    os.environ |= {"HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
    os.chdir("/")  # root's own folders are out of reach now


def inherited_environment() -> dict[str, str]:
    """What every process gets: our own environment without what is meant for us alone."""
    return {key: value for key, value in os.environ.items() if key not in _OURS}


def find_program(name: str, search: str, cwd: str = "") -> str:
    """The path of a program that shall run in the folder `cwd`; CannotStart says in words why it cannot be run."""
    candidates = [name] if "/" in name else [os.path.join(folder or ".", name) for folder in search.split(":")]
    candidates = [os.path.join(cwd, path) for path in candidates]
    for path in candidates:
        if os.path.isfile(path):
            if not os.access(path, os.X_OK):
                raise CannotStart(f"{path} may not be executed; set its run bit with `chmod +x`")
            return path
    where = "" if "/" in name else f" in {search}"
    raise CannotStart(f"the program {name} was not found{where}")


def _spawn(argv: Sequence[str], env: Mapping[str, str], cwd: str, log: int, keep: Sequence[int]) -> int:
    program = find_program(argv[0], env.get("PATH", os.defpath), cwd)
    for descriptor in keep:
        os.set_inheritable(descriptor, True)
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        with _being_in(cwd), _rather_than_us():
            return os.posix_spawn(
                program, list(argv), env, setsid=True, setsigdef=_DEFAULTED, file_actions=actions
            )  # fmt: skip
    except OSError as error:
        reason = error.strerror
        if isinstance(error, FileNotFoundError) or error.errno == 8:  # ENOEXEC, or the interpreter of a `#!` line
            reason = "it has no usable `#!` line, or the interpreter that it names is missing"
        raise CannotStart(f"{program} cannot be started: {reason}") from error
    finally:
        os.close(null)
        for descriptor in keep:
            os.set_inheritable(descriptor, False)


@contextlib.contextmanager
def _being_in(folder: str) -> Iterator[None]:
    """Be in a folder for a while. Where we were may be gone, or nobody's business of this user: then there is no way
    back, and none is needed."""
    before = None
    with contextlib.suppress(OSError):
        before = os.getcwd()
    os.chdir(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.chdir(before or "/")


@contextlib.contextmanager
def _rather_than_us() -> Iterator[None]:
    """What is started here is killed before us for want of memory, so that we can tell: proc(5), oom_score_adj."""
    ours = _likelihood()
    _set_likelihood(min(1000, ours + _FIRST))
    try:
        yield
    finally:
        _set_likelihood(ours)


def _likelihood() -> int:
    with open(_SCORE, encoding="ascii") as file:
        return int(file.read())


def _set_likelihood(points: int) -> None:
    with contextlib.suppress(OSError), open(_SCORE, "w", encoding="ascii") as file:
        file.write(str(points))


def _wait(watch: int, stop: Stop, timeout: float | None, output: _Output | None) -> str:
    """Wait for the end of the process, the time-out or a stop, whichever comes first; hand on its output meanwhile."""
    deadline = None if timeout is None else time.monotonic() + timeout
    poll = select.poll()
    for descriptor in (watch, stop.descriptor, *([output.descriptor] if output else [])):
        poll.register(descriptor, select.POLLIN)
    while stop.signal is None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return TIMED_OUT
        events = dict(poll.poll(None if left is None else _milliseconds(left)))
        if watch in events:
            return EXITED
        if stop.descriptor in events:
            os.read(stop.descriptor, 4096)
        if output is not None and output.descriptor in events and not output.read():
            poll.unregister(output.descriptor)
    return INTERRUPTED


def _end(pid: int, watch: int) -> None:
    _signal_group(pid, signal.SIGTERM)
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    if not poll.poll(_milliseconds(GRACE)):
        _signal_group(pid, signal.SIGKILL)
        poll.poll()


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # all gone, or only others' processes are left
        os.killpg(pid, number)


def ask(argv: Sequence[str], timeout: float, more: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a short command of the system and give its exit code and all that it says.

    `more` is added to its environment. CannotStart when it is missing, TooSlow when it takes longer than
    `timeout` seconds.
    """
    import subprocess  # costs milliseconds, and few need it

    env = inherited_environment() | {"LC_ALL": "C"} | dict(more or {})
    try:
        done = subprocess.run(  # noqa: S603 - the words are ours or names that were checked
            [find_program(argv[0], env.get("PATH", os.defpath)), *argv[1:]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=env, timeout=timeout, check=False, encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TooSlow(f"{argv[0]} gave no answer within {timeout:g} s") from error
    except OSError as error:
        raise CannotStart(f"{argv[0]} cannot be started: {error.strerror}") from error
    return done.returncode, done.stdout


def detach(argv: Sequence[str], log: str) -> None:
    """Start one of our own programs that shall outlive us: a session of its own, messages appended to the file `log`.

    It must not keep a terminal or a pipe of ours open, or cron and ssh would wait for its end. If the messages have no
    place, because the disk is full, it is started without.
    """
    _reap_detached()
    null = os.open(os.devnull, os.O_RDWR)
    messages = os.dup(null)
    try:
        with contextlib.suppress(OSError):
            opened = _messages(log)
            os.close(messages)
            messages = opened
        actions = [(os.POSIX_SPAWN_DUP2, source, target) for source, target in ((null, 0), (null, 1), (messages, 2))]
        pid = os.posix_spawn(argv[0], list(argv), os.environ, setsid=True, setsigdef=_DEFAULTED, file_actions=actions)
        _detached.add(pid)
    finally:
        os.close(messages)
        os.close(null)


def _reap_detached() -> None:
    """Let go of those that have ended: a courier may start them for years."""
    for pid in tuple(_detached):
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                continue
        _detached.discard(pid)


def _messages(log: str) -> int:
    with contextlib.suppress(FileNotFoundError):  # it is new, or another process has just put it aside
        if os.path.getsize(log) > MESSAGES_BYTES:
            os.replace(log, f"{log}.old")
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)


def lean(*words: str) -> list[str]:
    """The command line of one of our lean programs: no site packages, nothing imported that it does not need."""
    return [sys.executable, "-I", "-S", os.path.join(os.path.dirname(os.path.abspath(__file__)), "lean.py"), *words]


def command(*words: str) -> list[str]:
    """The command line of `skipjack` itself."""
    return [sys.executable, "-I", "-m", "runner.cli", *words]
