"""The only module that prints: results to stdout, everything said about the work to stderr in single lines."""

import logging
import os
import sys

from schemas import standard_streams
from schemas.terminal import plain

_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _OneLine(logging.Formatter):
    """One record, one line; below journald with the priority it understands, elsewhere with the time."""

    def __init__(self, journald: bool) -> None:
        super().__init__("%(message)s" if journald else "%(asctime)s %(levelname)s %(message)s")
        self._journald = journald

    def format(self, record: logging.LogRecord) -> str:
        line = plain(" | ".join(super().format(record).splitlines()))
        return f"<{_PRIORITY.get(record.levelno, 6)}>{line}" if self._journald else line


def start_logging() -> None:
    """Send every log record of the process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine(journald="JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # uvicorn logs its own start and each malformed request, of which anybody can send any number: those are counted
    logging.getLogger("uvicorn").setLevel(logging.ERROR)


def result(line: str) -> None:
    """Print one line of what was asked for."""
    standard_streams.write(plain(line) + "\n")


def note(text: str) -> None:
    """Tell the operator something that is not the result."""
    standard_streams.tell(plain(text) + "\n")
