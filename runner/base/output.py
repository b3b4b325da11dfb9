"""The one place that prints. Answers go to stdout, the log to stderr in lines that journald shows well."""

from schemas import standard_streams
from schemas.standard_streams import INFO
from schemas.terminal import plain

_hushed = False
_finishes_unread = False


def masked(text: str) -> str:
    """Return text in which no address has its secrets: people and programs write addresses into anything."""
    if "@" in text or "?" in text or "=" in text:  # else there are none, and programs begin faster
        from schemas.addresses import without_secrets

        return without_secrets(text)
    return text


def head(text: str, most: int) -> str:
    """Return the beginning of a text without secrets: a part of an address may not be recognized as one."""
    return masked(text)[:most]


def say(text: str, *, has_addresses: bool = True) -> None:
    """Print an answer that was asked for; addresses are shown without their secrets, but for a text that is to be used
    as it is. OSError when it cannot be written, but after `finish_unread`."""
    try:
        standard_streams.write(plain(masked(text) if has_addresses else text) + "\n")
    except OSError:
        if not _finishes_unread:
            raise


def finish_unread() -> None:
    """Drop answers that cannot be written from now on: the command changes things, and must not end halfway."""
    global _finishes_unread
    _finishes_unread = True


def log(text: str, *, about: str = "", level: str = INFO, has_addresses: bool = True) -> None:
    """Log a message about a program or a mirror; without `about`, print it as an answer of the command that was typed.

    Addresses are shown without their secrets. The caller says when there are none: at the limit of open files or
    processes the module for them cannot be loaded any more.
    A message that cannot be written, on a full disk or without a reader, is dropped: the work continues.
    """
    text = masked(text) if has_addresses else text
    standard_streams.tell(standard_streams.log_lines(level, about, text) if about else _lines(text))


def _lines(text: str) -> str:
    return "".join(f"{plain(line)}\n" for line in text.splitlines())


def note(text: str, *, about: str = "") -> None:
    """Tell what is as it should be: as `log`, but nothing after `hush`."""
    if not _hushed:
        log(text, about=about)


def hush() -> None:
    """Print no notes from now on: cron sends all that is printed by mail."""
    global _hushed
    _hushed = True


def bar(text: str) -> None:
    """Show one line on a terminal that the next one overwrites; empty text takes it away."""
    standard_streams.tell(f"\r\x1b[K{text}")
