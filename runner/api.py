"""All that providers and hooks see of the worker: the only module of ours that they import, beside the records.

A *provider* is a module with

- `command(job) -> Command`: which process brings the files,
- `is_success(job, code) -> bool` and `explain(code) -> str`: how to take its exit code,
- `reader(job) -> Reader`: what reads its log, line by line.

A *hook* is a module with any of the functions `pre_job, pre_exec, post_exec, post_success, post_fail`, each taking the
job. Both list the keys of a mirror that they look at in `OPTIONS`. Either may raise Abort to end the run.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from schemas.records import Mirror


class Abort(Exception):  # noqa: N818 - an order, not an error
    """Ends the run at once with a status and a reason of one line."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Command(NamedTuple):
    """A process to start: its words (never a shell's), and its environment beside what every process gets."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str


class Findings(NamedTuple):
    """What a log tells: bytes received, files transferred, the mirror's size in bytes; None where it does not."""

    bytes: int | None = None
    files: int | None = None
    size: int | None = None


class Reader(Protocol):
    """Reads a log as a stream, in memory that does not depend on its length."""

    def line(self, text: str) -> None:
        """Take the next line."""

    def findings(self) -> Findings:
        """What was found, once all lines were read."""


class Job:
    """One run of one mirror, as its hooks and its provider see it.

    `attempt` counts from 1 and is 0 before the first; `log_file` is set by the log keeper before each attempt.
    """

    def __init__(self, mirror: Mirror, directory: str, mirror_root: str, log_dir: str) -> None:
        self.mirror = mirror
        self.directory = directory
        self.mirror_root = mirror_root
        self.log_dir = log_dir
        self.attempt = 0
        self.log_file = ""


class Provider(Protocol):
    """The shape of a provider's module."""

    OPTIONS: frozenset[str]

    @staticmethod
    def command(job: Job) -> Command:
        """Which process brings the files."""

    @staticmethod
    def is_success(job: Job, code: int) -> bool:
        """Whether an exit code means success."""

    @staticmethod
    def explain(code: int) -> str:
        """What an exit code means, in a few words."""

    @staticmethod
    def reader(job: Job) -> Reader:
        """What reads the log."""
