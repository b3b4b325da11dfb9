"""Read an attempt's log once, as a stream: the provider's figures, forbidden lines, and the tail for the report."""

import re
import signal
from collections import deque
from types import FrameType
from typing import NamedTuple

from runner.base.output import head
from runner.plugin_api import Findings, Reader
from schemas.regular_files import regular_itself

LINE_BYTES = 64 * 1024
"""Largest number of bytes that are read as one line, which limits memory and the work of patterns."""

LINE_SECONDS = 3.0
"""Shortest time in seconds that patterns get for one line; the longest is twice that."""

_LINE_SHOWN = 1000
"""Characters of one line in a tail."""

TAIL_LINES = 30
TAIL_CHARACTERS = 8000
"""Limits of a tail, which each report of a run contains."""


class Digest(NamedTuple):
    """The result of reading a log.

    `forbidden` is a line that matches `fail_on_match`, None without one; `stuck` is why the log was not read to its
    end, empty if it was.
    """

    findings: Findings
    tail: str
    forbidden: str | None
    stuck: str = ""


def digest(path: str, reader: Reader, fail_on_match: str) -> Digest:
    """Read the log at `path`; memory use does not depend on its length. Raises OSError."""
    search = re.compile(fail_on_match).search if fail_on_match else None
    forbidden: str | None = None
    stuck = ""
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    watchdog = Watchdog()
    try:
        with open(path, "rb", opener=regular_itself) as file, watchdog:
            while data := file.readline(LINE_BYTES):
                watchdog.lines += 1
                text = data.decode("utf-8", "replace").rstrip("\r\n")
                tail.append(text if len(text) <= _LINE_SHOWN else head(text, _LINE_SHOWN))
                reader.line(text)
                if search is not None and forbidden is None and search(text):
                    forbidden = text
    except Stuck:
        where = f"did not get past line {watchdog.lines} of the log within {LINE_SECONDS:g} s"
        stuck = f"`fail_on_match` or `size_pattern` {where}; {SIMPLER}"
    return Digest(reader.findings(), shortened("\n".join(tail)), forbidden, stuck)


def shortened(tail: str) -> str:
    """Return the last whole lines of a tail that fit into a report: in half a URL a password is not recognized."""
    if len(tail) <= TAIL_CHARACTERS:
        return tail
    end = tail[-TAIL_CHARACTERS:]
    return end.partition("\n")[2] or end


SIMPLER = "write a simpler pattern, without repetitions inside repetitions"


class Stuck(Exception):  # noqa: N818 - a state of the reading, not an error
    """A regular expression takes too long on one line."""


class Watchdog:
    """Raise Stuck in the block if no line is finished between two timer signals; callers count `lines`.

    Python's regular expressions handle signals while they match, so even a pathological one is interrupted. A timer
    that fires every few seconds does not slow the lines down, as a deadline for each line would.
    """

    def __init__(self) -> None:
        self.lines = 0
        self._seen = -1

    def __enter__(self) -> "Watchdog":
        self._handler_before = signal.signal(signal.SIGALRM, self._look)
        signal.setitimer(signal.ITIMER_REAL, LINE_SECONDS, LINE_SECONDS)
        return self

    def __exit__(self, *_exception: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._handler_before)

    def _look(self, _number: int, _frame: FrameType | None) -> None:
        if self.lines == self._seen:
            raise Stuck(f"it did not finish line {self.lines} of the log within {LINE_SECONDS:g} s")
        self._seen = self.lines
