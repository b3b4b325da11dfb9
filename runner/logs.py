"""Reading an attempt's log once, as a stream: the provider's figures, forbidden lines, and the tail for the report."""

import re
from collections import deque
from typing import NamedTuple

from runner.api import Findings, Reader

LINE_BYTES = 64 * 1024
"""What is looked at of one line; a pattern never meets a longer one."""

TAIL_LINES = 30
TAIL_CHARACTERS = 8000


class Digest(NamedTuple):
    """What one reading of a log gives; `forbidden` is the line that a definition said must not be there."""

    findings: Findings
    tail: str
    forbidden: str | None


def digest(path: str, reader: Reader, fail_on_match: str) -> Digest:
    """Read the log at `path`. Memory does not depend on its length."""
    search = re.compile(fail_on_match).search if fail_on_match else None
    forbidden: str | None = None
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with open(path, "rb") as file:
        while data := file.readline(LINE_BYTES):
            text = data.decode("utf-8", "replace").rstrip("\r\n")
            reader.line(text)
            tail.append(text[:1000])
            if search is not None and forbidden is None and search(text):
                forbidden = text
    return Digest(reader.findings(), "\n".join(tail)[-TAIL_CHARACTERS:], forbidden)
