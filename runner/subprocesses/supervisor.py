"""Start, supervise and end a provider's processes.

A process runs in a session of its own, so that a stop reaches its whole group: TERM, grace period, KILL. It is started
with `posix_spawn`: no Python code runs between fork and exec, and it inherits only the named descriptors.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import NamedTuple

from runner.base import locks
from runner.subprocesses import pipes
from runner.subprocesses.pipes import ENOUGH, PAUSE, Enough, Output, Pipe
from runner.subprocesses.pipes import Sink as Sink
from runner.subprocesses.spawn import DEFAULTED, GRACE, STOPS, CannotStart, find_program

_SCORE = "/proc/self/oom_score_adj"
_FIRST = 200
"""Points added to a provider's OOM score, as if it used another fifth of the memory: it is killed before us."""

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

_adopting = False

_WIDE = Pipe()

CHORES_EVERY = 10.0
"""Seconds without output after which the caller's `chores` are called."""

EXITED, TIMED_OUT, INTERRUPTED = "exited", "timed-out", "interrupted"


class Exit(NamedTuple):
    """How a process ended: its exit code (negative for a signal), and the cause if we ended it."""

    code: int
    cause: str = EXITED


class Stop:
    """Remembers that this process was asked to stop, and makes a descriptor readable for those who poll.

    `then` is called by the signal handler.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.then: Callable[[], None] | None = None
        # set_wakeup_fd demands a descriptor that does not block: a signal handler must never wait.
        self.descriptor, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def listen(self) -> None:
        """Handle TERM, INT and HUP from now on."""
        # A full pipe is enough to wake its reader, so a lost byte is not an error.
        signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        for number in STOPS:
            signal.signal(number, self._on_signal)

    def wait(self, seconds: float) -> bool:
        """Wait until the time is over or a stop is requested; return whether it was requested."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        while self.signal is None and (left := deadline - time.monotonic()) > 0:
            if poll.poll(_milliseconds(left)):
                os.read(self.descriptor, 4096)
        return self.signal is not None

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        if self.then is not None:
            self.then()


def _milliseconds(seconds: float) -> float:
    """Return a timeout for poll(2), which is 24 days at most; callers that wait longer poll again."""
    return min(seconds * 1000 + 1, 2**31 - 1)


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    log: int,
    keep: Sequence[int],
    timeout: float | None,
    stop: Stop,
    sinks: Sequence[Sink] = (),
    chores: Callable[[], None] | None = None,
    pipe: Pipe = _WIDE,
    grace: float = GRACE,
) -> Exit:
    """Run one process to its end; its output goes to the descriptor `log`, or to the sinks if there are any.

    Of two sinks the second one gets standard error. `chores` is called from time to time while there is no output.
    `pipe` is the pipe of standard output to its sink.

    `keep` are descriptors of which it and its children inherit copies (locks). `timeout` and `grace`, the time between
    TERM and KILL, are in seconds. When it ends, the rest of its group is killed, and after `adopt_orphans` all our
    other descendants as well. Raises CannotStart, and any exception of a sink after the process has been ended and the
    sinks got the rest of its output.
    """
    pid, outputs = _spawn_into(argv, env, cwd, log, keep, sinks, pipe)
    watch = os.pidfd_open(pid)  # readable when the process ends, so that one poll waits for it and for its output
    try:
        try:
            cause = _wait(watch, stop, timeout, outputs, chores)
            if cause != EXITED:
                _end(pid, watch, grace)
        finally:
            # Also after an exception: no process may go on writing to the mirror when its run records an end.
            code = _reap(pid, watch)
            for output in outputs:
                output.close()
    except BaseException as error:
        for output in outputs:
            with contextlib.suppress(Exception):  # the first exception is the one to report
                output.end()
        if isinstance(error, Enough):
            return Exit(ENOUGH)
        raise
    for output in outputs:
        output.end()
    return Exit(code, cause)


def _reap(pid: int, watch: int) -> int:
    """Kill the rest of a process's group and return its exit code."""
    _signal_group(pid, signal.SIGKILL)  # before the leader is reaped: until then the group's id cannot be reused
    os.close(watch)
    _pid, status = os.waitpid(pid, 0)
    if _adopting:
        end_descendants()
    return os.waitstatus_to_exitcode(status)


def _spawn_into(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: str,
    log: int,
    keep: Sequence[int],
    sinks: Sequence[Sink],
    pipe: Pipe,
) -> tuple[int, list[Output]]:
    """Start a process whose output goes to the log, to one sink, or in two streams to two sinks."""
    kinds = (pipe, _WIDE)[: len(sinks)]
    ends = [pipes.opened(kind) for kind in kinds]
    if sinks and pipe != _WIDE:
        # A process that must not get ahead of us inherits the reading end as well. Else it would find no reader once we
        # are killed, and rsync goes on then: with a reader it waits for room, until a tick ends it.
        keep = (*keep, ends[0][0])
    targets = [target for _source, target in ends] or [log]
    try:
        pid = _spawn(argv, env, cwd, (targets[0], targets[-1]), keep)
    except CannotStart:
        for source, _target in ends:
            os.close(source)
        raise
    finally:
        for _source, target in ends:
            os.close(target)
    sources = [source for source, _target in ends]
    return pid, [Output(*each) for each in zip(sources, sinks, kinds, strict=True)]


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none escapes us as a daemon."""
    # Python has no function for prctl, and `ctypes` itself would cost each run 2 ms.
    from _ctypes import call_function, dlopen, dlsym

    global _adopting
    ours = dlopen(None, 0)  # type: ignore[arg-type]  # None is this program with its libraries
    call_function(dlsym(ours, "prctl"), (_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
    _adopting = True


def end_descendants() -> None:
    """Kill and reap all our descendants, in whatever session; without `adopt_orphans` those whose parents live."""
    while killed := [pid for pid in _children() if _kill(pid)]:  # the children of a killed one become ours
        for pid in killed:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _kill(pid: int) -> bool:
    """Kill a child; False if it runs as another user, as by sudo: waiting for it could take for ever."""
    try:
        os.kill(pid, signal.SIGKILL)
    except PermissionError:
        return False
    return True


def _children() -> list[int]:
    return [int(pid) for pid in _read(f"/proc/self/task/{os.getpid()}/children").split()]


def _read(path: str) -> bytes:
    """Return the contents of a file in /proc, with fewer system calls than `open` makes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(descriptor, 64 * 1024):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def _spawn(argv: Sequence[str], env: Mapping[str, str], cwd: str, outputs: tuple[int, int], keep: Sequence[int]) -> int:
    """Start a process with these descriptors as its standard output and error."""
    program = find_program(argv[0], env.get("PATH", os.defpath), cwd)
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, source, number) for number, source in enumerate((null, *outputs))]
        # posix_spawn can set neither the folder nor the OOM score of the child, so both are inherited from us.
        with _being_in(cwd), _rather_than_us(), _inheriting(keep):
            return os.posix_spawn(
                program, list(argv), env, setsid=True, setsigdef=DEFAULTED, file_actions=actions
            )  # fmt: skip
    except OSError as error:
        reason = error.strerror
        if isinstance(error, FileNotFoundError) or error.errno == 8:  # ENOEXEC, or the interpreter of a `#!` line
            reason = "it has no usable `#!` line, or the interpreter that it names is missing"
        raise CannotStart(f"{program} cannot be started: {reason}") from error
    finally:
        os.close(null)


@contextlib.contextmanager
def _inheriting(descriptors: Sequence[int]) -> Iterator[None]:
    """Let processes started in the block inherit copies of these descriptors.

    posix_spawn has no `pass_fds`: a child gets every descriptor that is inheritable at that moment.
    """
    copies: list[int] = []
    try:
        for descriptor in descriptors:
            copies.append(locks.for_child(descriptor))  # noqa: PERF401 - those that were made are closed in any case
        yield
    finally:
        for copy in copies:
            os.close(copy)


@contextlib.contextmanager
def _being_in(folder: str) -> Iterator[None]:
    """Change to a folder within the block. If the folder before is gone or not accessible, end up in `/` instead."""
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
    """Let processes started in the block be killed before us when memory runs out, so that we can report it.

    See oom_score_adj in proc(5).
    """
    ours = _likelihood()
    _set_likelihood(min(1000, ours + _FIRST))
    try:
        yield
    finally:
        _set_likelihood(ours)


def _likelihood() -> int:
    return int(_read(_SCORE))


def _set_likelihood(points: int) -> None:
    with contextlib.suppress(OSError):  # without privileges the kernel may refuse to lower it; the run goes on
        descriptor = os.open(_SCORE, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, str(points).encode())
        finally:
            os.close(descriptor)


def _wait(
    watch: int, stop: Stop, timeout: float | None, outputs: Sequence[Output], chores: Callable[[], None] | None
) -> str:
    """Wait for the end of the process, the timeout or a stop, whichever comes first, and pass on its output."""
    deadline = None if timeout is None else time.monotonic() + timeout
    poll, quiet = select.poll(), select.poll()
    for descriptor in (watch, stop.descriptor):
        poll.register(descriptor, select.POLLIN)
        quiet.register(descriptor, select.POLLIN)
    for output in outputs:
        poll.register(output.descriptor, select.POLLIN)
    idle = CHORES_EVERY if chores else None
    while stop.signal is None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            return TIMED_OUT
        limit = PAUSE if any(output.holds for output in outputs) else idle
        limit = left if limit is None or (left is not None and left < limit) else limit
        events = dict(poll.poll(None if limit is None else _milliseconds(limit)))
        if not events:
            _while_quiet(outputs, chores)
        # What is left in the pipes is read after the rest of the group was killed, by `Output.close`.
        if watch in events:
            return EXITED
        if stop.descriptor in events:
            os.read(stop.descriptor, 4096)
        ready = [output for output in outputs if output.descriptor in events]
        for output in ready:
            if not output.read():
                poll.unregister(output.descriptor)
        pause = min([output.pause for output in ready], default=0.0)
        if pause >= 0.001:
            quiet.poll(pause * 1000)  # ends early for the end of the process and for a stop signal
        elif pause:
            time.sleep(pause)  # poll(2) counts whole milliseconds
    return INTERRUPTED


def _while_quiet(outputs: Sequence[Output], chores: Callable[[], None] | None) -> None:
    for output in outputs:
        output.hand_on()
    if chores:
        chores()


def _end(pid: int, watch: int, grace: float) -> None:
    _signal_group(pid, signal.SIGTERM)
    poll = select.poll()
    poll.register(watch, select.POLLIN)
    if not poll.poll(_milliseconds(grace)):
        _signal_group(pid, signal.SIGKILL)
        # Without a limit: until the kernel has ended it, it can still write to the mirror.
        poll.poll()


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # none is left, or only other users' processes
        os.killpg(pid, number)
