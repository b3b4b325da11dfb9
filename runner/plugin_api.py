"""All that providers and hooks see of the worker: the only module of ours that they import, beside the records.

A *provider* is a module with

- `commands(job) -> Iterator[Command]`: which processes bring the files, one after the other while each succeeds;
  when it is asked for the next one, `job.exit_code` is that of the one before; before it ends it may set another one,
  which then is that of all together,
- `argument_lists(mirror, directory) -> Iterator[tuple[str, ...]]`: the arguments of each rsync among them, all that a
  run may need, for the machine's policy to judge,
- `is_success(job, code) -> bool` and `explain(code) -> str`: how to take its exit code,
- `reader(job) -> Reader`: what reads its log, line by line,
- `UNREACHED`: the exit codes that say that the upstream could not be reached; the log may say so with any other one.

A *hook* is a module with any of the functions `pre_job, pre_exec, post_exec, post_success, post_fail`, each taking the
job. Both list the keys of a mirror that they look at in `OPTIONS`. Either may raise Abort to end the run.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from runner.base.contents import MOST_LINKED as MOST_LINKED
from runner.base.contents import PARTIAL, Stopped, count
from runner.base.contents import Contents as Contents
from runner.base.contents import Links as Links
from runner.base.contents import inode_of as inode_of
from runner.base.mirror_paths import Paths
from runner.base.mirror_paths import has_files as has_files  # for hooks, too
from runner.base.mirror_paths import is_missing_or_empty as is_missing_or_empty
from runner.base.mirror_paths import left_behind as left_behind
from runner.base.mirror_paths import lies_in as lies_in
from runner.base.mirror_paths import moving as moving
from runner.base.mirror_paths import real_paths as real_paths
from runner.journal.last_success import Past as Past
from runner.journal.last_success import identity_of as identity_of
from runner.plan.deletion_limits import EVERYTHING as EVERYTHING
from runner.plan.deletion_limits import Limits as Limits
from runner.plan.deletion_limits import Loss as Loss
from runner.plan.deletion_limits import Tree as Tree
from runner.plan.deletion_limits import allowed as allowed
from runner.plan.deletion_limits import limits_of
from runner.plan.deletion_limits import refusal as refusal
from runner.subprocesses.pipes import ENOUGH as ENOUGH
from runner.subprocesses.pipes import Enough as Enough
from runner.subprocesses.pipes import Pipe as Pipe
from runner.subprocesses.pipes import within as within
from runner.subprocesses.spawn import is_rsync
from schemas.mirror_record import Mirror
from schemas.regular_files import regular_itself
from schemas.states import INTERRUPTED, REFUSED

SECRETS = frozenset({"RSYNC_PASSWORD"})
"""Variables whose values nobody is shown and no command line holds."""


class Abort(Exception):  # noqa: N818 - an order, not an error
    """Ends the run at once with a status and a reason of one line."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class CannotRun(Exception):  # noqa: N818 - what happened, not a fault of ours
    """A program could not be started, or took longer than it may; the message says which in words."""


Lines = Callable[[bytes], bytes]


class Command(NamedTuple):
    """A process to start: its words (never a shell's), and its environment beside what every process gets.

    `goes_on` are exit codes after which the next command runs although they are no success; `progress` says that its
    output tells how far it is, as rsync's `--info=progress2` does. `output` and `errors` read what it writes to its
    standard output and error: they take whole lines and return those that belong into the log. Either may raise Enough.
    `pipe` is what its standard output goes through.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str
    goes_on: frozenset[int] = frozenset()
    progress: bool = False
    output: Lines | None = None
    errors: Lines | None = None
    pipe: Pipe = Pipe()


class Outcome(NamedTuple):
    """How an attempt ended, for the hooks after it: a run status, why (empty after a success), the last exit code."""

    status: str
    reason: str
    exit_code: int | None


class Findings(NamedTuple):
    """What a log tells: bytes received, files transferred, the mirror's size in bytes; None where it does not.

    With `by_name` the size is a sum over names, in which a file with several of them counts several times;
    `transferred` is then the whole size, in bytes, of the files that came or changed. `remark` is what a success left
    undone, to be shown beside it.
    """

    bytes: int | None = None
    files: int | None = None
    size: int | None = None
    remark: str = ""
    by_name: bool = False
    transferred: int | None = None


class Reader(Protocol):
    """Reads a log as a stream, in memory that does not depend on its length."""

    def line(self, text: str) -> None:
        """Take the next line."""

    def findings(self) -> Findings:
        """What was found, once all lines were read."""


Execute = Callable[["Command", float | None], int]


def _not_running(_command: "Command", _timeout: float | None) -> int:
    raise CannotRun("no attempt is under way")


Ask = Callable[[Sequence[str], float], tuple[int, str]]


def _not_asking(_argv: Sequence[str], _timeout: float) -> tuple[int, str]:
    raise CannotRun("no run is under way")


def _not_recording(_what: str, _files: int, _size: int) -> None:
    """Keep no record: a trial changes nothing."""


def _not_looking(_upstream: str, _files: int, _size: int, _on_disk: int | None) -> None:
    """Keep no record, either."""


def _as_it_is(command: "Command") -> "Command":
    return command


class Machine(NamedTuple):
    """What a run must know of its machine: see the settings of the same names; `state_dir` for files of its own.

    `volumes` are the folders that its policy shows to containers, `pattern_files` those with files of patterns, None
    where nobody told. `home` is that of a run's programs, `roots` are the folders that mirrors write to, and `env` are
    the names of the worker's own variables that programs get. `judged` says that the policy has a list of programs.
    `passwords` are the values of `file_policy.Passwords`, None in a plan of an earlier release.
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


_NO_MACHINE = Machine()


class Job:
    """One run of one mirror, as its hooks and its provider see it.

    `started_at` is in seconds since the epoch. `attempt` counts from 1 and is 0 before the first; `log_file` is set by
    the log keeper before each attempt, `outcome` by the pipeline after it. `execute` runs a command to its end, its
    output going to the attempt's log: it takes the command and a time-out in seconds or None, and gives the exit code
    (negative for a signal) or raises CannotRun. What went wrong beside the run stands in `complaints`.
    `explanation` is for a hook that knows better than the provider why an attempt failed, before it is judged; `kept`
    is for what a hook must remember from one of its functions to the next, under a name of its own.
    `ask` runs a short program of the system: it takes its words and a time-out in seconds, and gives the exit code and
    what it said, or raises CannotRun. A hook may replace `wrap`, through which each of the provider's commands goes
    before it is started, and `unwrap`, which is called when its process has ended, however it did. `stopped` returns
    whether the run was told to stop, for work that takes long and is no process.

    `limits` say how much this run may delete. A provider that judges all deletions of an attempt by them before it
    makes any sets `deletions_judged`, which is False when an attempt begins; otherwise the tree is compared after the
    attempt. `accepted` is the tree of the last success that was accepted, None when there was none; `contents` is the
    tree after this attempt, for a provider that knows it without a walk.

    A provider that deletes by itself counts what it deletes before it does: `deleting` takes a token of its own choice,
    the number of files and their bytes; `deleted_less` takes the token and what of it was not deleted after all.
    `first_look` takes the upstream, and the files, the bytes and those on disk, None if they are not known, that a
    mirror without an accepted success is compared with.

    `past` is what earlier runs left in the directory. `from_empty` says that the operator allows this run to begin in
    an empty directory; `starts_anew` that the run does, so that nothing of the past counts any more. `had_files` says
    that there was something to lose before the first attempt; `log_lost` is why output of this attempt's commands could
    not be written to its log, empty when all was; `found` are the files and bytes in the tree after an
    attempt, with what was accepted in the place of what is not known; `on_disk` are the bytes with each file counted
    once, whatever names it has; `counted` says that these are the files on disk.
    `loss_refused` says that the comparison refused it. `keeps_parts_apart` is False where an upstream's folders may
    have the name of those in which rsync keeps parts of files.
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
        self.limits = limits_of(mirror)
        self.deletions_judged = False
        self.past = Past()
        self.from_empty = False
        self.starts_anew = False
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
        """The tree of the last accepted success, or of the first look where there was none yet."""
        return self.past.accepted

    @property
    def apart(self) -> str | None:
        """The name of the folders in which rsync keeps parts of files, which are none of the mirror."""
        return PARTIAL if self.keeps_parts_apart else None

    @property
    def own_files(self) -> frozenset[str]:
        """The paths of the files that Skipjack itself leaves in the mirror: they are no loss, and none that is left."""
        host = self.mirror.trace
        if not host:
            return frozenset()
        places = (("", f"Archive-Update-in-Progress-{host}"), ("project/trace", host))
        names = [os.path.join(folder, name) for folder, own in places for name in (own, f".{own}.new")]
        return frozenset(os.path.join(self.directory, name) for name in names)

    def walk(self, linked: Callable[[os.stat_result], None] | None = None) -> Contents:
        """Count the files of the directory but for our own and parts of files; raises Abort when told to stop.

        `linked` is called for each name of each file that has several.
        """
        try:
            return count(self.directory, self.stopped, self.own_files, self.apart, linked)
        except Stopped as stopped:
            raise Abort(INTERRUPTED, "the run was told to stop while files were counted") from stopped

    def look_first(self) -> None:
        """Count what there is to lose where no success was accepted yet; once, before anything is brought.

        Where that was nothing, files are ours alone until another upstream is to replace them.
        """
        past = self.past
        if past.files is not None and (past.files or past.first_look in ("", self.mirror.upstream)):
            return
        found = self.walk()
        if not found.unreadable:
            size: int = found.bytes
            on_disk: int | None = found.on_disk
            if past.files is None and past.bytes is not None:  # of an accepted success, whose log told a size
                size, on_disk = past.bytes, None
            self.compare_with(found.files, size, on_disk)

    def compare_with(self, files: int, size: int, on_disk: int | None = None) -> None:
        """Keep what this run and the next ones are compared with until a success is accepted."""
        upstream = self.mirror.upstream
        self.first_look(upstream, files, size, on_disk)
        self.past = self.past._replace(files=files, bytes=size, on_disk=on_disk, first_look=upstream, counted=False)

    def refusal(self, words: Sequence[str]) -> str:
        """Why the machine's policy keeps a definition's command line from being started now; empty when it does not."""
        if not self.machine.judged or not is_rsync(words):
            return ""
        from runner.base import rsync_lines  # few command lines are of rsync, and every run begins here

        return rsync_lines.refusal(words, self.directory)

    def password(self) -> str | None:
        """Return the mirror's password; raises Abort when the policy does not let its upstream have it now."""
        if self.mirror.password is None:
            return None
        from runner.base import passwords  # few mirrors have one, and every run begins here
        from schemas.secrets import read_mirror_secret

        if why := passwords.refusal(self.mirror, self.machine.passwords):
            raise Abort(REFUSED, why)
        return read_mirror_secret(self.mirror.password)

    def note(self, text: str) -> None:
        """Write a line of ours at the end of the attempt's log, where people look first; a full disk is no matter."""
        if self.log_file:
            self.write(f"skipjack: {text}\n")

    def write(self, lines: str) -> None:
        """Write whole lines at the end of the attempt's log; a full disk is no matter."""
        with (
            contextlib.suppress(OSError),
            open(self.log_file, "a", encoding="utf-8", errors="replace", opener=regular_itself) as log,
        ):
            log.write(lines)

    def complain(self, text: str) -> None:
        """Tell what went wrong beside the run, in one line, without changing its result; each attempt's log has it."""
        line = " ".join(text.split())
        if line not in self.complaints:
            self.complaints.append(line)
        self.note(line)

    @property
    def is_last_attempt(self) -> bool:
        """Whether no other attempt follows if this one fails: it was the last, or was refused or interrupted."""
        return self.attempt >= self.mirror.retry or self.outcome.status in (REFUSED, INTERRUPTED)

    @property
    def facts(self) -> dict[str, str]:
        """What scripts are told in their environment: by tunasync's names, which public scripts need, and by ours."""
        facts = {
            "MIRROR_NAME": self.mirror.name,
            "WORKING_DIR": self.directory,
            "UPSTREAM_URL": self.mirror.upstream,
            "LOG_DIR": self.log_dir,
            "LOG_FILE": self.log_file,
        }
        return {f"{prefix}_{key}": value for prefix in ("TUNASYNC", "SKIPJACK") for key, value in facts.items()}


class Provider(Protocol):
    """The shape of a provider's module."""

    OPTIONS: frozenset[str]
    UNREACHED: frozenset[int]

    @staticmethod
    def commands(job: Job) -> Iterator[Command]:
        """Which processes bring the files."""

    @staticmethod
    def argument_lists(mirror: Mirror, directory: str) -> Iterator[tuple[str, ...]]:
        """The arguments of each rsync that a run may start."""

    @staticmethod
    def is_success(job: Job, code: int) -> bool:
        """Whether an exit code means success."""

    @staticmethod
    def explain(code: int) -> str:
        """What an exit code means, in a few words."""

    @staticmethod
    def reader(job: Job) -> Reader:
        """What reads the log."""
