"""The command provider: a program of the site's own, as the public collections of mirror scripts expect to be run."""

import re
import shlex
from collections.abc import Iterator

from runner.plugin_api import Abort, Command, Findings, Job
from schemas.mirror_record import Mirror
from schemas.states import REFUSED
from schemas.units import parse_tool_size

OPTIONS = frozenset({
    "upstream", "command", "env", "success_exit_codes", "fail_on_match", "size_pattern", "size_units",
    "progress_pattern", "max_delete", "max_delete_floor", "max_delete_bytes",
})  # fmt: skip

UNREACHED = frozenset({75})
"""EX_TEMPFAIL of sysexits(3), with which a script asks to be tried again."""


def commands(job: Job) -> Iterator[Command]:
    """The command line, split as a shell would but run without one, in the mirror's directory."""
    words = tuple(shlex.split(job.mirror.command))
    if not job.mirror.docker_image and (why := job.refusal(words)):
        raise Abort(REFUSED, why)
    yield Command(words, job.facts | dict(job.mirror.env), job.directory)


def argument_lists(_mirror: Mirror, _directory: str) -> Iterator[tuple[str, ...]]:
    """None: a command is no rsync of ours."""
    yield from ()


def is_success(job: Job, code: int) -> bool:
    """0, or one of the codes that the definition lists."""
    return code == 0 or code in job.mirror.success_exit_codes


def explain(code: int) -> str:
    """The code, or the signal that ended the command."""
    return f"the command was ended by signal {-code}" if code < 0 else f"the command exited with {code}"


def reader(job: Job) -> "SizeReader":
    """What looks for the size in the log."""
    return SizeReader(job.mirror.size_pattern, job.mirror.size_units)


class SizeReader:
    """Takes the first group of the pattern's last match as the mirror's size, its units powers of `base`."""

    def __init__(self, pattern: str, base: int = 1024) -> None:
        self._base = base
        self._pattern = re.compile(pattern) if pattern else None
        self._size: int | None = None

    def line(self, text: str) -> None:
        """Take the next line of the log."""
        match = self._pattern.search(text) if self._pattern else None
        if match:
            self._size = parse_tool_size(match.group(1) or "", self._base)

    def findings(self) -> Findings:
        """The size, if the log told it."""
        return Findings(size=self._size)
