"""How templates write times, sizes, links and words; everything that comes from a report is made printable here."""

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
from schemas.report import Probe, Progress

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_BACKQUOTED = re.compile(r"`([^`\n]+)`")
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Embeddings, overrides and isolates of text direction: one that is not closed reorders the page around it."""

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
"""The words for every run status; none is told by its colour alone."""

CAUSE_WORDS = {
    states.SILENCE: "worker silent",
    states.LAG: "behind upstream",
    states.UPSTREAM: "upstream stands still",
    states.CLOCK: "a clock was wrong",
}
"""What is said beside a verdict of the causes that nothing else in the row tells."""

_BUSY = states.ACTIVE | {states.QUEUED}
_BAD = states.ENDS - {states.SUCCESS, states.STOPPED}


def tone(status: str) -> str:
    """The class of a run status: `good`, `bad`, `busy` or `calm`."""
    if status == states.SUCCESS:
        return "good"
    return "bad" if status in _BAD else "busy" if status in _BUSY else "calm"


def printable(value: Any) -> Any:
    """Take terminal colours, control characters and overrides of text direction out of a text; the rest stays."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return _ESCAPES.sub("", value.replace("\r\n", "\n").replace("\r", "\n")).translate(_CONTROLS)


@lru_cache(maxsize=4096)  # a page tells most of its moments twice, and many pages the same
def moment(at: float | None, zone: ZoneInfo, never: str = "never") -> Markup:
    """A time in the site's zone, with what the page's script needs to add how long ago that is."""
    if at is None:
        return Markup('<span class="none">{}</span>').format(never)
    text = datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M")
    iso = datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup(f'<time datetime="{iso}">{text}</time>')  # noqa: S704 - both are made of digits


def size(count: int | None) -> str:
    """Bytes for people, a dash where they are not known."""
    return NO_NUMBER if count is None else units.format_size(count)


def duration(seconds: float | None) -> str:
    """Seconds for people, a dash where they are not known."""
    return NO_NUMBER if seconds is None else units.format_duration(seconds)


def behind(probe: Probe) -> str:
    """How far a mirror was behind its upstream, in words."""
    seconds = lag(probe)
    if seconds is None:
        return "not known" if probe.same is None else "the two differ"
    return duration(seconds) if seconds else "not at all"


def percent(value: float) -> int:
    """Percent as a whole number that a bar can show; 100 only when all is done."""
    return int(min(100.0, max(0.0, value)))


def amounts(progress: Progress) -> str:
    """What a run has transferred so far, and how fast; empty when none of it is known."""
    return " · ".join(_amounts(progress))


def _amounts(progress: Progress) -> Iterator[str]:
    if progress.bytes is not None:
        yield units.format_size(progress.bytes)
    if progress.speed is not None:
        yield f"{units.format_size(progress.speed)}/s"
    if progress.files is not None:
        yield f"{progress.files:,} file{'' if progress.files == 1 else 's'}"


def spans(text: str) -> Markup:
    """A message of ours, with what stands between backquotes as code."""
    return Markup(_BACKQUOTED.sub(r"<code>\1</code>", str(escape(printable(text)))))  # noqa: S704 - escaped just here


def segment(text: str) -> str:
    """A name as one segment of a URL's path."""
    return quote(text, safe="")


def href(url: str) -> str:
    """An address as a link may hold it: what no address has, such as a space or `<`, in its escaped form."""
    return quote(str(printable(url)), safe="%/:?#[]@!$&'()*+,;=~")


def is_web(url: str) -> bool:
    """Whether a link may lead there: http and https only."""
    return url.lower().startswith(("http://", "https://"))
