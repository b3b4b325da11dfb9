"""All output of the worker's programs: answers on standard output, the log on standard error."""

import os
import sys

from schemas import standard_streams
from schemas.standard_streams import INFO
from schemas.terminal import plain

_hushed = False
_finishes_unread = False


def masked(text: str) -> str:
    """Return the text with secrets in URLs masked: people and programs write URLs into anything."""
    if "@" in text or "?" in text or "=" in text:  # otherwise it holds no secret, and the import is not needed
        from schemas.addresses import without_secrets

        return without_secrets(text)
    return text


def head(text: str, most: int) -> str:
    """Return the first `most` characters of a text, masked before it is cut: a cut URL may not be recognized."""
    return masked(text)[:most]


def say(text: str, *, has_addresses: bool = True) -> None:
    """Print an answer on standard output; OSError if that fails, except after `finish_unread`.

    Secrets in URLs are masked. A caller whose text must stay as it is says `has_addresses=False`.
    """
    try:
        standard_streams.write(plain(masked(text) if has_addresses else text) + "\n")
    except OSError:
        if not _finishes_unread:
            raise


def finish_unread() -> None:
    """Drop answers that cannot be written from now on, so that a command that changes things is not cut short."""
    global _finishes_unread
    _finishes_unread = True


def log(text: str, *, about: str, level: str = INFO, has_addresses: bool = True) -> None:
    """Log a message about a program, a command or a mirror, in the form of all programs' log lines.

    Secrets in URLs are masked, unless `has_addresses` is False: at the limit of open files or processes the module
    that masks them can no longer be loaded.
    A message that cannot be written, on a full disk or without a reader, is dropped: the work continues.
    """
    text = masked(text) if has_addresses else text
    standard_streams.write_error(standard_streams.log_lines(level, about, text))


def note(text: str, *, about: str) -> None:
    """Log that something is as it should be, unless `hush` was called."""
    if not _hushed:
        log(text, about=about)


def confirmed(question: str) -> bool:
    """Ask a person at the terminal; return whether the answer is yes. False without a terminal."""
    if not (sys.stdin and sys.stdin.isatty() and os.isatty(1)):
        return False
    standard_streams.write(question)
    return sys.stdin.readline().strip().lower() == "yes"


def hush() -> None:
    """Print no notes from now on: cron mails everything that is printed."""
    global _hushed
    _hushed = True


def bar(text: str) -> None:
    """Show a line on a terminal that the next one overwrites; empty text removes it."""
    standard_streams.write_error(f"\r\x1b[K{text}")
