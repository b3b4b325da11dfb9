"""The only module that prints: results to stdout, log lines and remarks to stderr."""

import logging
import sys

from schemas import standard_streams
from schemas.standard_streams import ERROR
from schemas.terminal import plain

PROGRAM = "skipjack-manager"


class _LogFormatter(logging.Formatter):
    """Formats a record as one line, the form of all programs' logs; a traceback is in it, its lines joined by `|`."""

    def __init__(self, program: str) -> None:
        super().__init__("%(message)s")
        self._program = program

    def format(self, record: logging.LogRecord) -> str:
        # One line per record: text from the network must not look like a record of its own.
        line = " | ".join(super().format(record).splitlines())
        return standard_streams.log_lines(record.levelname, self._program, line).removesuffix("\n")


def start_logging(program: str = PROGRAM) -> None:
    """Send every log record of the process to stderr, as about this program."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LogFormatter(program))
    # `force` replaces the handler of an earlier call, which names another program.
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # uvicorn logs its own start, and each malformed request. Anyone can send any number of those: they are counted.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)


def result(line: str) -> None:
    """Print one line of the result."""
    standard_streams.write(plain(line) + "\n")


def note(text: str) -> None:
    """Print a remark that is not part of the result."""
    standard_streams.write_error(plain(text) + "\n")


def log(text: str, level: str = ERROR) -> None:
    """Log a message of the command line itself."""
    standard_streams.write_error(standard_streams.log_lines(level, PROGRAM, text))
