"""Start programs that need no supervision: short system commands, and detached programs of ours.

`runner/subprocesses/supervisor.py` starts the supervised ones. No other module of the worker starts processes.
"""

import contextlib
import os
import signal
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from runner.base import environment
from schemas.regular_files import regular

if TYPE_CHECKING:
    from typing import IO, BinaryIO

    from runner.base.privileges import Identity

GRACE = 10.0
"""Seconds between TERM and KILL: rsync needs a few to remove its temporary files."""

MESSAGES_BYTES = 1024**2
"""Size in bytes at which a file of messages is rotated to `.old`."""

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
DEFAULTED = (*STOPS, signal.SIGPIPE)
"""Signals that are reset to their default in new programs, which would inherit ignored ones: Python ignores SIGPIPE,
and `nohup` SIGHUP."""

_detached: set[int] = set()


class CannotStart(Exception):  # noqa: N818 - an outcome, not a bug
    """The program could not be started; the message says why."""


class TooSlow(CannotStart):
    """The program did not end in time; it may have done its work nevertheless."""


def inherited_environment() -> dict[str, str]:
    """Return our environment for system commands: without variables for us alone, and with absolute paths in `PATH`.

    Programs that a definition starts get `environment.environment` instead.
    """
    env = {key: value for key, value in os.environ.items() if key not in environment.OURS}
    return env | {"PATH": environment.search_path(())}


def is_rsync(words: Sequence[str], real: Callable[[str], str] = os.path.realpath) -> bool:
    """Return whether a command line starts rsync itself with arguments, also by a versioned name or a link.

    A script such as `rsync-debian.sh` does not count. `real` follows all links.
    """
    paths = (words[0], real(words[0])) if words[0].startswith("/") else (words[0],)
    return len(words) > 1 and any(_is_rsync(os.path.basename(path)) for path in paths)


def _is_rsync(name: str) -> bool:
    rest = name.removeprefix("rsync")
    return rest != name and (rest == "-ssl" or not rest.strip("-_.0123456789"))


def find_program(name: str, search: str, cwd: str = "") -> str:
    """Return the path of a program to run in the folder `cwd`; CannotStart if it cannot be run."""
    candidates = [name] if "/" in name else [os.path.join(folder or ".", name) for folder in search.split(":")]
    candidates = [os.path.join(cwd, path) for path in candidates]
    for path in candidates:
        if os.path.isfile(path):
            if not os.access(path, os.X_OK):
                raise CannotStart(f"{path} is not executable; make it so with `chmod +x`")
            return path
    where = "" if "/" in name else f" in {search}"
    raise CannotStart(f"the program {name} was not found{where}")


def ask(
    argv: Sequence[str],
    timeout: float | None,
    more: Mapping[str, str] | None = None,
    *,
    alone: bool = False,
    stdin: "BinaryIO | None" = None,
    identity: "Identity | None" = None,
) -> tuple[int, str]:
    """Run a short system command; return its exit code and its output, both streams together.

    `more` is added to its environment, or is all of it with `alone`. `stdin` is its input, none by default.
    Root can run it with the rights of another user, by `identity`.
    CannotStart if it cannot be started, TooSlow if it takes longer than `timeout` seconds.
    """
    import subprocess  # costs milliseconds, and few need it

    user, groups = identity or (None, None)
    # Messages are searched for English words, such as those of systemctl and podman.
    env = ({} if alone else inherited_environment()) | {"LC_ALL": "C"} | dict(more or {})
    try:
        done = subprocess.run(  # noqa: S603 - the words are ours or names that were checked
            [find_program(argv[0], env.get("PATH", os.defpath)), *argv[1:]],
            stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=env, timeout=timeout, check=False, encoding="utf-8", errors="replace",
            user=user, group=groups[0] if groups else None, extra_groups=groups,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TooSlow(f"{argv[0]} did not answer within {timeout:g} s") from error
    except OSError as error:
        raise CannotStart(f"{argv[0]} cannot be started: {error.strerror}") from error
    return done.returncode, done.stdout


def ask_stranger(argv: Sequence[str], env: Mapping[str, str], timeout: float, most: int) -> tuple[int, str]:
    """Run a program that asks an untrusted server; return its exit code and the first `most` bytes of its output.

    `env` is its whole environment. It has no terminal, and is killed when it writes more, or after `timeout` seconds:
    then the exit code is negative. CannotStart if it cannot be started.
    """
    import select
    import subprocess
    import time

    ends_at, output = time.monotonic() + timeout, b""
    try:
        asked = subprocess.Popen(  # noqa: S603 - the words are ours, or an address that was checked
            [find_program(argv[0], env.get("PATH", os.defpath)), *argv[1:]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise CannotStart(f"{argv[0]} cannot be started: {error.strerror}") from error
    with asked as process:
        source = cast("IO[bytes]", process.stdout).fileno()
        poll = select.poll()
        poll.register(source, select.POLLIN)
        while len(output) < most and (left := ends_at - time.monotonic()) > 0:
            if poll.poll(left * 1000 + 1):
                piece = os.read(source, most - len(output))
                output += piece
                if not piece:
                    break
        try:
            process.wait(max(0.0, ends_at - time.monotonic()) if len(output) < most else 0)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    return process.returncode, output.decode("utf-8", "replace")


def capture(
    argv: Sequence[str], env: Mapping[str, str], cwd: str, timeout: float, stdin: bytes
) -> tuple[int, bytes, str]:
    """Run a program that only reads, and return its exit code, its output, and its messages.

    `env` is its whole environment. CannotStart if it cannot be started, TooSlow after `timeout` seconds.
    """
    import subprocess

    try:
        done = subprocess.run(  # noqa: S603 - the words are ours or names that were checked
            [find_program(argv[0], env.get("PATH", os.defpath)), *argv[1:]],
            input=stdin, capture_output=True, env=env, cwd=cwd, timeout=timeout, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TooSlow(f"{argv[0]} did not answer within {timeout:g} s") from error
    except OSError as error:
        raise CannotStart(f"{argv[0]} cannot be started: {error.strerror}") from error
    return done.returncode, done.stdout, done.stderr.decode("utf-8", "replace")


def detach(argv: Sequence[str], log: str) -> None:
    """Start one of our own programs that outlives us, in a new session; its messages are appended to the file `log`.

    It gets none of our standard streams, or cron and ssh would wait for its end. If the log cannot be opened, because
    the disk is full, its messages are dropped.
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
        pid = os.posix_spawn(argv[0], list(argv), os.environ, setsid=True, setsigdef=DEFAULTED, file_actions=actions)
        _detached.add(pid)
    finally:
        os.close(messages)
        os.close(null)


def _reap_detached() -> None:
    """Reap detached programs that have ended, so that a courier that runs for years collects no zombies."""
    for pid in tuple(_detached):
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                continue
        _detached.discard(pid)


def _messages(log: str) -> int:
    with contextlib.suppress(FileNotFoundError):  # it is new, or another process has just rotated it
        found = os.stat(log)
        if found.st_size > MESSAGES_BYTES or not stat.S_ISREG(found.st_mode):
            os.replace(log, f"{log}.old")
    return regular(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)


def lean(*words: str) -> list[str]:
    """Return the command line of tick, run or measure, started without site packages and unneeded imports."""
    packages = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [sys.executable, "-I", "-S", os.path.join(packages, "tick", "entry.py"), *words]


def command(*words: str) -> list[str]:
    """Return the command line of `skipjack` itself."""
    # With site packages, unlike `lean`: these commands need YAML, git and requests.
    return [sys.executable, "-I", "-m", "runner.cli", *words]
