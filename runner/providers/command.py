"""The command provider: run a program of the site, in the way that public collections of mirror scripts expect."""

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
"""EX_TEMPFAIL of sysexits(3): a script that exits with it asks for another try."""


def commands(job: Job) -> Iterator[Command]:
    """Yield the command line, to run in the mirror's directory; it is split as by a shell, but no shell runs it."""
    words = tuple(shlex.split(job.mirror.command))
    # Follow checked the words, but the upstream may have created a link since. A container sees no file of the machine.
    if not job.mirror.docker_image and (why := job.refusal(words)):
        raise Abort(REFUSED, why)
    yield Command(words, job.facts | dict(job.mirror.env), job.directory)


def argument_lists(_mirror: Mirror, _directory: str) -> Iterator[tuple[str, ...]]:
    """Yield nothing: the arguments of a command are not rsync's."""
    yield from ()


def is_success(job: Job, code: int) -> bool:
    """Return whether the code is 0 or one that the definition lists."""
    return code == 0 or code in job.mirror.success_exit_codes


def explain(code: int) -> str:
    """Return the exit code, or the signal that ended the command, in words."""
    return f"the command was ended by signal {-code}" if code < 0 else f"the command exited with {code}"


def reader(job: Job) -> "SizeReader":
    """Return the object that searches the log for the size."""
    return SizeReader(job.mirror.size_pattern, job.mirror.size_units)


class SizeReader:
    """Reads the mirror's size from the first group of the pattern's last match; its units are powers of `base`."""

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
        """Return the size, None if no line of the log matched."""
        return Findings(size=self._size)
