"""Until when does a pin last: a duration from now, or a time."""

from datetime import datetime

from schemas.errors import SkipjackError
from schemas.problems import shown
from schemas.units import parse_duration, setting_duration

LONGEST = 30 * 86400
"""Seconds that a pin may last: it is for an emergency, and must not be forgotten."""


def parse(text: str, now: float) -> float:
    """Return the end of a pin in seconds since 1970 UTC. A time without a zone is in that of this machine.

    SkipjackError if it is not in the future, or too far.
    """
    end = _parsed(text, now)
    if end <= now:
        raise SkipjackError(f"cannot pin until {shown(text)}: that is not in the future.", _EXAMPLE)
    if end > now + LONGEST:
        what = f"cannot pin until {shown(text)}: a pin may last {setting_duration(LONGEST)} at most."
        raise SkipjackError(what, "Revert the change in the config repository instead.")
    return end


_EXAMPLE = "Examples: `--until 2d`, `--until 2030-01-31T18:00`."


def _parsed(text: str, now: float) -> float:
    try:
        return now + parse_duration(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError) as error:
        what = f"cannot pin until {shown(text)}: it is neither a duration nor a time."
        raise SkipjackError(what, _EXAMPLE) from error
