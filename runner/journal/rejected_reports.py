"""Messages that the manager rejected lately, in a small file: `skipjack next` and the worker's reports show them."""

import contextlib
import json
import time
from typing import NamedTuple

from runner.base.output import masked
from runner.base.state_dir import StateLayout
from schemas import json_text
from schemas.regular_files import read_regular, replace_regular

SHOWN_FOR = 7 * 86400.0
"""Seconds for which a rejection is shown."""

AGAIN = 3600.0
"""Seconds after which the same rejection is recorded and logged again."""

_LARGEST, _VALUES = 64 * 1024, 100
"""Largest number of bytes and of JSON values in the file."""


class Rejections(NamedTuple):
    """How often and since when messages were rejected, the last one, and the manager's reason. Times are in seconds
    since 1970 UTC."""

    times: int
    first_at: float
    last_at: float
    what: str
    why: str


class WorkerProblem(NamedTuple):
    """A problem of the worker, as `next` and reports show it."""

    place: str
    what: str
    todo: str


def add(layout: StateLayout, what: str, why: str, now: float) -> bool:
    """Record a rejection; False if the same one was recorded less than an hour ago."""
    before = _read(layout, now)
    if before is not None and before.what == what and now - before.last_at < AGAIN:
        return False
    times, first_at = (before.times, before.first_at) if before else (0, now)
    _write(layout, Rejections(times + 1, first_at, now, what, masked(why)))
    return True


def remembered(layout: StateLayout, now: float) -> list[WorkerProblem]:
    """Return the rejections of the last days as one problem, if there are any."""
    found = _read(layout, now)
    if found is None:
        return []
    since = time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(found.first_at))
    often = f"{found.times} times since {since}, last" if found.times > 1 else since
    what = f"The manager rejected a message ({often}): {found.what}. It said: {found.why}"
    return [WorkerProblem("manager", what, _TODO)]


_TODO = "Update the manager or the worker, whichever is older, or check the proxy before the manager."


def _read(layout: StateLayout, now: float) -> Rejections | None:
    """Return the recorded rejections if they are not too old; None also if the file cannot be read."""
    try:
        found = _decode(**json_text.parse(read_regular(layout.rejected, _LARGEST), _VALUES))
    except (OSError, ValueError, TypeError):
        return None
    # A time in the future comes from a clock that was set back.
    return found if 0 <= now - found.last_at < SHOWN_FOR else None


def _decode(times: object, first_at: object, last_at: object, what: object, why: object) -> Rejections:
    """Check the type of each value; ValueError if one does not match."""
    if type(times) is not int:
        raise ValueError("`times` is not a number")
    moment, text = json_text.moment, json_text.text
    return Rejections(times, moment(first_at), moment(last_at), text(what), text(why))


def _write(layout: StateLayout, rejections: Rejections) -> None:
    """Replace the file; errors are ignored, since the log has the same."""
    with contextlib.suppress(OSError):
        replace_regular(layout.rejected, json.dumps(rejections._asdict()))
