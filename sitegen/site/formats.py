"""How templates write times, sizes, links and labels, and how they make text from reports printable."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from schemas import states, units
from schemas.clock.freshness import lag
from schemas.report import Probe, RunProgress

# Control sequences (ECMA-48), such as the colours that programs write into their logs.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BACKQUOTED = re.compile(r"`([^`\n]+)`")
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Embeddings, overrides and isolates of text direction: an unclosed one reorders the page around it."""

_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0), *_BIDI) if chr(code) not in "\n\t"}

NO_NUMBER = "\N{EN DASH}"

RUN_WORDS = {
    states.NONE: "never run",
    states.QUEUED: "waiting for a slot",
    states.LAUNCHING: "starting",
    states.PRE_SYNCING: "preparing",
    states.SYNCING: "syncing",
    states.SUCCESS: "success",
    states.FAILED: "failed",
    states.TIMED_OUT: "timed out",
    states.STOPPED: "stopped",
    states.INTERRUPTED: "interrupted",
    states.REFUSED: "refused",
    states.LAUNCH_FAILED: "could not start",
    states.PAUSED: "paused",
    states.DISABLED: "disabled",
}
"""A label for every run status, because colour alone must not carry it."""

VERDICT_WORDS = {states.FRESH: "up to date", states.STALE: "out of date", states.UNKNOWN: "unknown"}
"""A label for every freshness. `site.js` has the same labels."""

CAUSE_WORDS = {
    states.SILENCE: "worker offline",
    states.LAG: "behind upstream",
    states.UPSTREAM: "upstream not updated",
    states.CLOCK: "wrong clock",
}
"""Labels of the causes that no other cell of the row shows."""

_BUSY = states.ACTIVE | {states.QUEUED}
_BAD = states.ENDS - {states.SUCCESS, states.STOPPED}


def tone(status: str) -> str:
    """Return the CSS class of a run status: `good`, `bad`, `busy` or `calm`."""
    if status == states.SUCCESS:
        return "good"
    return "bad" if status in _BAD else "busy" if status in _BUSY else "calm"


def printable(value: Any) -> Any:
    """Remove terminal colours, control characters and overrides of text direction from a text."""
    # Called for each value that a page shows, and nearly all are printable.
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return _ESCAPES.sub("", value.replace("\r\n", "\n").replace("\r", "\n")).translate(_CONTROLS)


@lru_cache(maxsize=4096)  # a page shows most of its times twice, and many pages show the same ones
def moment(at: float | None, zone: ZoneInfo, never: str = "never") -> Markup:
    """Return a time (Unix seconds) in the site's zone as a `<time>` element; the page's script adds its age."""
    if at is None:
        return Markup('<span class="none">{}</span>').format(never)
    text = datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M")
    iso = datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup(f'<time datetime="{iso}">{text}</time>')  # noqa: S704 - both are made of digits


def size(count: int | None) -> str:
    """Return a number of bytes with a unit, or a dash if it is unknown."""
    return NO_NUMBER if count is None else units.format_size(count)


def duration(seconds: float | None) -> str:
    """Return a number of seconds with units, or a dash if it is unknown."""
    return NO_NUMBER if seconds is None else units.format_duration(seconds)


def behind(probe: Probe) -> str:
    """Return how far a mirror was behind its upstream, in words."""
    seconds = lag(probe)
    if seconds is None:
        return "unknown" if probe.same is None else "unknown, files differ"
    return duration(seconds) if seconds else "none"


def percent(value: float) -> int:
    """Return percent as a whole number from 0 to 100; 100 only when everything is done."""
    return int(min(100.0, max(0.0, value)))


def amounts(progress: RunProgress) -> str:
    """Return what a run has transferred so far, and how fast; empty if nothing is known."""
    return "\N{NO-BREAK SPACE}· ".join(_amounts(progress))


def _amounts(progress: RunProgress) -> Iterator[str]:
    if progress.bytes is not None:
        yield units.format_size(progress.bytes)
    if progress.speed is not None:
        yield f"{units.format_size(progress.speed)}/s"
    if progress.files is not None:
        yield f"{progress.files:,} file{'' if progress.files == 1 else 's'}"


def spans(text: str) -> Markup:
    """Return a message of Skipjack, with text between backquotes as `<code>`."""
    return Markup(_BACKQUOTED.sub(r"<code>\1</code>", str(escape(printable(text)))))  # noqa: S704 - escaped just here


def segment(text: str) -> str:
    """Return a name as one segment of a URL's path."""
    return quote(text, safe="")


def href(url: str) -> str:
    """Return an address for a link, with characters that no URL may have, such as a space or `<`, escaped."""
    return quote(str(printable(url)), safe="%/:?#[]@!$&'()*+,;=~")


def is_web(url: str) -> bool:
    """Whether a page may link to an address: only http and https."""
    # An address with `javascript:` would run in the visitor's browser.
    return url.lower().startswith(("http://", "https://"))
