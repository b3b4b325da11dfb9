"""The API of providers and hooks, version 1: what `__all__` lists. Plug-ins import only this module.

A *provider* is a module with

- `commands(job) -> Iterator[Command]`: the processes that fetch the files, run one after the other while each
  succeeds. When the next one is requested, `job.exit_code` is that of the last one. Before the iterator ends it may
  set another one, which is then the exit code of the attempt.

A plug-in may leave out the others:

- `is_success(job, code) -> bool`: by default 0 and the definition's `success_exit_codes`,
- `explain(code) -> str`: what an exit code means, in a few words,
- `reader(job) -> Reader`: a reader of the attempt's log, line by line; by default one without figures,
- `UNREACHED`: the exit codes that mean that the upstream was not reached, by default 75 (EX_TEMPFAIL of sysexits(3));
  with any other one the log may show it.

A *hook* is a module with any of the functions `pre_job, pre_exec, post_exec, post_success, post_fail`, each with the
job as its argument. Either may raise Abort to end the run.

The built-in ones also list the keys of a mirror that they read in `OPTIONS`, and a provider has
`argument_lists(mirror, directory) -> Iterator[tuple[str, ...]]`: the arguments of each rsync that a run may start, for
the machine's policy to check.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from runner.base.contents import PARTIAL, Contents, Stopped, count
from runner.base.mirror_paths import Paths
from runner.journal.last_success import Past
from runner.plan.deletion_limits import Tree, limits_of
from runner.subprocesses.pipes import Pipe
from runner.subprocesses.spawn import is_rsync
from schemas.mirror_record import NO_ENTRIES, Mirror
from schemas.regular_files import regular_itself
from schemas.states import FAILED, INTERRUPTED, REFUSED, SUCCESS, TIMED_OUT
from schemas.units import format_size, parse_duration, parse_size

if TYPE_CHECKING:
    from runner.base.pattern_copies import PatternCopies

__all__ = (
    "FAILED", "INTERRUPTED", "REFUSED", "SUCCESS", "TIMED_OUT", "Abort", "CannotRun", "Command", "Findings", "Job",
    "Mirror", "Outcome", "Reader", "format_size", "parse_duration", "parse_size",
)  # fmt: skip
"""API v1. It only grows: a test compares it with its recorded form."""

SECRETS = frozenset({"RSYNC_PASSWORD"})
"""Environment variables whose values are never shown and never part of a command line."""


class Abort(Exception):  # noqa: N818 - a request, not an error
    """Ends the run at once with a status and a reason of one line."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class CannotRun(Exception):  # noqa: N818 - an outcome, not a bug
    """A program could not be started, or took too long; the message says which."""


Lines = Callable[[bytes], bytes]


class Command(NamedTuple):
    """A process to start: its arguments (never a shell command), its environment beside the common one, its folder.

    `goes_on` are exit codes after which the next command runs although they are not a success. `progress` says that
    its output shows its progress, as rsync's `--info=progress2` does.

    Not in API v1: `output` and `errors` get whole lines of its standard output and error, and return those that belong
    into the log. Either may raise Enough. `pipe` is the pipe of its standard output. `own_files` are files that the
    runner has written for it.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    goes_on: frozenset[int] = frozenset()
    progress: bool = False
    output: Lines | None = None
    errors: Lines | None = None
    pipe: Pipe = Pipe()
    own_files: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """How an attempt ended, for the hooks after it: a run status, the reason (empty for a success), an exit code."""

    status: str
    reason: str
    exit_code: int | None


class Findings(NamedTuple):
    """Figures from a log: bytes received, files transferred, the mirror's size in bytes; None if the log lacks them.

    With `by_name` the size counts a hard-linked file once for each name; `transferred` is then the total size, in
    bytes, of new and changed files. `remark` is what a success left undone, to be shown beside it.
    """

    bytes: int | None = None
    files: int | None = None
    size: int | None = None
    remark: str = ""
    by_name: bool = False
    transferred: int | None = None


class Reader(Protocol):
    """Reads a log as a stream, in constant memory."""

    def line(self, text: str) -> None:
        """Read the next line."""

    def findings(self) -> Findings:
        """Return the figures, after all lines were read."""


Execute = Callable[["Command", float | None], int]


def _not_running(_command: "Command", _timeout: float | None) -> int:
    raise CannotRun("no attempt is under way")


Ask = Callable[[Sequence[str], float], tuple[int, str]]


def _not_asking(_argv: Sequence[str], _timeout: float) -> tuple[int, str]:
    raise CannotRun("no run is under way")


def _not_recording(_what: str, _files: int, _size: int) -> None:
    """Record nothing: a dry run changes nothing."""


def _not_looking(_upstream: str, _files: int, _size: int, _on_disk: int | None) -> None:
    """Record nothing, either."""


def _as_it_is(command: "Command") -> "Command":
    return command


class Machine(NamedTuple):
    """Facts about the machine that a run needs: see the settings of the same names.

    `volumes` are the folders that the policy shows to containers, `pattern_files` those with pattern files, None if
    unknown. `home` is the home of a run's programs, `roots` are the folders that mirrors write to, and `env` are the
    names of the worker's own variables that programs get. `judged` says that the policy has a list of programs.
    `passwords` are the values of `file_policy.Passwords`, None in a plan of an earlier release. `programs` are those
    that the policy allows, None if it allows any.
    """

    state_dir: str = ""
    container_program: str = "docker"
    cgroup: str | None = None
    volumes: tuple[str, ...] = ()
    pattern_files: tuple[str, ...] | None = None
    home: str = "/"
    roots: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    judged: bool = False
    passwords: Sequence[Any] | None = None
    programs: tuple[str, ...] | None = None


_NO_MACHINE = Machine()


class Job:
    """One run of one mirror, as its hooks and its provider see it.

    API v1 has `mirror` (its definition), `directory` (which the run fills), and

    - `started_at`: in seconds since 1970 UTC.
    - `attempt`: counts from 1; 0 before the first attempt.
    - `log_file`: set before each attempt, empty before the first one; `log_dir` is its folder.
    - `exit_code`: that of the last command; `outcome`: how the attempt ended, for `post_success` and `post_fail`.
    - `execute`: runs a command to its end with its output in the attempt's log. Arguments: the command, and a timeout
      in seconds or None. Returns the exit code (negative for a signal) or raises CannotRun.
    - `ask`: runs a short system command. Arguments: its words and a timeout in seconds. Returns the exit code and the
      output, or raises CannotRun.
    - `stopped`: returns whether the run must stop, for long work in this process.
    - `explanation`: set by a hook that knows better than the provider why an attempt failed, before it is judged.
    - `kept`: a hook's data from one of its functions to the next, under a key of its own.
    - `facts`, `is_last_attempt`, `keys`, `refusal`, `password`, `note`, `write`, `complain`: see below.

    The rest is for the built-in ones:

    - `wrap`, `unwrap`: a hook may replace them. `wrap` changes each of the provider's commands before its start;
      `unwrap` is called after its process has ended for any reason.
    - `complaints`: problems beside the run that do not change its result.
    - `limits`: how much this run may delete.
    - `deletions_judged`: set by a provider that checks all deletions of an attempt against `limits` before it makes
      any. It is False when an attempt begins; if it stays so, the tree is compared after the attempt.
    - `accepted`: the tree of the last accepted success, None if there was none.
    - `contents`: the tree after this attempt, set by a provider that knows it without a walk.
    - `deleting`: records deletions before a provider makes them itself: a token of its choice, files, bytes.
    - `deleted_less`: takes back deletions that were not made: the token, files, bytes.
    - `first_look`: records what a mirror without an accepted success is compared with: the upstream, files, bytes, and
      bytes on disk or None.
    - `loss_refused`: the comparison refused the loss.
    - `past`: what earlier runs left in the directory.
    - `from_empty`: the operator allows this run to start in an empty directory. `starts_anew`: it does, so `past` does
      not count any more.
    - `had_files`: there was something to lose before the first attempt.
    - `found`: files and bytes after an attempt; accepted figures stand in for unknown ones. `on_disk`: the bytes with
      each hard-linked file counted once. `counted`: the files are those on disk.
    - `keeps_parts_apart`: False if the upstream may have folders with the name of rsync's folders for partial files.
    - `copies`: the copies of pattern files that the attempt's programs read; None before the first one.
    - `attempt_deadline`: until when the commands of an attempt may run, by the monotonic clock; None for no limit.
    - `deadline`: the same for the plug-in's function that is running.
    - `log_lost`: why output of this attempt could not be written to its log, else empty.
    """

    def __init__(self, mirror: Mirror, paths: Paths, machine: Machine = _NO_MACHINE) -> None:
        self.mirror = mirror
        self.paths = paths
        self.directory = paths.directory
        self.mirror_root = paths.root
        self.log_dir = paths.log_dir
        self.snapshot = paths.snapshot
        self.machine = machine
        self.started_at = time.time()
        self.attempt = 0
        self.exit_code = 0
        self.log_file = ""
        self.outcome = Outcome("none", "", None)
        self.execute: Execute = _not_running
        self.ask: Ask = _not_asking
        self.wrap: Callable[[Command], Command] = _as_it_is
        self.unwrap: Callable[[], None] = lambda: None
        self.stopped: Callable[[], bool] = lambda: False
        self.complaints: list[str] = []
        self.explanation = ""
        self.kept: dict[str, Any] = {}
        self.log_lost = ""
        self.copies: PatternCopies | None = None
        self.attempt_deadline: float | None = None
        self.deadline: float | None = None
        self.limits = limits_of(mirror)
        self.deletions_judged = False
        self.past = Past()
        self.from_empty = False
        self.starts_anew = False
        self.unaccepted: Tree | None = None
        self.contents: Tree | None = None
        self.deleting: Callable[[str, int, int], None] = _not_recording
        self.deleted_less: Callable[[str, int, int], None] = _not_recording
        self.first_look: Callable[[str, int, int, int | None], None] = _not_looking
        self.had_files = False
        self.found: tuple[int | None, int | None] = (None, None)
        self.on_disk: int | None = None
        self.keeps_parts_apart = True
        self.counted = False
        self.loss_refused = False

    @property
    def accepted(self) -> Tree | None:
        """Return the tree of the last accepted success, or of the first look before the first success."""
        return self.past.accepted

    @property
    def apart(self) -> str | None:
        """Return the name of rsync's folders for partial files, which do not count; None if they must count."""
        return PARTIAL if self.keeps_parts_apart else None

    @property
    def own_files(self) -> frozenset[str]:
        """Return the paths of files that Skipjack itself writes into the mirror: they never count as its files."""
        host = self.mirror.trace
        if not host:
            return frozenset()
        places = (("", f"Archive-Update-in-Progress-{host}"), ("project/trace", host))
        # With the names under which the trace hook writes both files first.
        names = [os.path.join(folder, name) for folder, own in places for name in (own, f".{own}.new")]
        return frozenset(os.path.join(self.directory, name) for name in names)

    def walk(self, linked: Callable[[os.stat_result], None] | None = None, *, sizes: bool = True) -> Contents:
        """Count the files of the directory without our own and partial ones; raises Abort if the run must stop.

        `linked` is called for each name of each hard-linked file. Without `sizes` only files are counted, which is
        faster.
        """
        try:
            return count(self.directory, self.stopped, self.own_files, self.apart, linked, sizes)
        except Stopped as stopped:
            raise Abort(INTERRUPTED, "the run received a stop signal while files were counted") from stopped

    def keys(self, name: str) -> Mapping[str, Any]:
        """Return the definition's keys of the plug-in `name`, with the defaults of its schema; empty without any."""
        return self.mirror.plugins.get(name) or NO_ENTRIES

    def refusal(self, words: Sequence[str]) -> str:
        """Return why the policy denies a definition's command line now; empty if it is allowed."""
        if not self.machine.judged or not is_rsync(words):
            return ""
        from runner.base import rsync_lines  # few command lines are of rsync, and every run begins here

        return rsync_lines.refusal(words, self.directory, self.machine.pattern_files)

    def password(self) -> str | None:
        """Return the mirror's password; raises Abort if the policy denies it to the upstream now."""
        if self.mirror.password is None:
            return None
        from runner.base import passwords, pattern_files  # few mirrors have one, and every run begins here

        try:
            return passwords.read(self.mirror, self.machine.passwords)
        except pattern_files.Unsafe as why:
            raise Abort(REFUSED, str(why)) from why

    def note(self, text: str) -> None:
        """Append a line of ours to the attempt's log, where people look first; a full disk is ignored."""
        if self.log_file:
            self.write(f"skipjack: {text}\n")

    def write(self, lines: str) -> None:
        """Append whole lines to the attempt's log; a full disk is ignored."""
        with (
            # Not through a link: a container can write to the folder of the logs.
            contextlib.suppress(OSError),
            open(self.log_file, "a", encoding="utf-8", errors="replace", opener=regular_itself) as log,
        ):
            log.write(lines)

    def complain(self, text: str) -> None:
        """Record a problem beside the run as one line, without a change of its result, and append it to the log."""
        line = " ".join(text.split())
        if line not in self.complaints:
            self.complaints.append(line)
        self.note(line)

    @property
    def is_last_attempt(self) -> bool:
        """Return whether no attempt follows this one if it fails: it was the last, or was refused or interrupted."""
        return self.attempt >= self.mirror.retry or self.outcome.status in (REFUSED, INTERRUPTED)

    @property
    def facts(self) -> dict[str, str]:
        """Return variables for scripts, with tunasync's names, which public scripts need, and with ours."""
        facts = {
            "MIRROR_NAME": self.mirror.name,
            "WORKING_DIR": self.directory,
            "UPSTREAM_URL": self.mirror.upstream,
            "LOG_DIR": self.log_dir,
            "LOG_FILE": self.log_file,
        }
        return {f"{prefix}_{key}": value for prefix in ("TUNASYNC", "SKIPJACK") for key, value in facts.items()}


class Provider(Protocol):
    """The shape of a built-in provider's module."""

    OPTIONS: frozenset[str]
    UNREACHED: frozenset[int]

    def commands(self, job: Job) -> Iterator[Command]:
        """Yield the processes that fetch the files."""

    def argument_lists(self, mirror: Mirror, directory: str) -> Iterator[tuple[str, ...]]:
        """Yield the arguments of each rsync that a run may start."""

    def is_success(self, job: Job, code: int) -> bool:
        """Return whether an exit code means success."""

    def explain(self, code: int) -> str:
        """Return what an exit code means, in a few words."""

    def reader(self, job: Job) -> Reader:
        """Return a reader for the log."""
