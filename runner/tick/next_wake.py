"""The agenda: what the last tick found, so that a tick with nothing to do costs next to nothing.

One small file says until when nothing becomes due and which runs must be looked after. It is bound to the exact state
of the plan's and the journal's files, so that it is void as soon as anything changes; nobody has to remember to
delete it. Imports nothing but what every Python has loaded.
"""

import os

from schemas.regular_files import regular

_MARK = "skipjack-agenda-1"

SETTLED = 1.0
"""Seconds that the files must have been at rest: within a clock tick two writes can leave the same time stamp."""


def stamp(paths: tuple[str, ...]) -> tuple[str, float]:
    """The state of some files as text, and the newest of their modification times (0 without any)."""
    parts, newest = [], 0.0
    for path in paths:
        try:
            found = os.stat(path)
        except FileNotFoundError:
            parts.append("-")
            continue
        parts.append(f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}")
        newest = max(newest, found.st_mtime)
    return " ".join(parts), newest


def read(path: str, current: str, now: float) -> list[str] | None:
    """The mirrors whose runs must be looked after, if there is nothing else to do now; None when a tick is needed."""
    try:
        with open(path, encoding="ascii", opener=regular) as file:
            mark, bound, times, *names = file.read().split("\n")
        made_at, wake_at = map(float, times.split())
    except (OSError, ValueError):
        return None
    if mark != _MARK or bound != current or not made_at <= now < wake_at:
        return None
    return [name for name in names if name]


def write(path: str, current: str, now: float, wake_at: float, names: list[str]) -> None:
    """Leave an agenda for the next tick. Not synced: a lost one costs a tick, a torn one is not understood.

    Nor does it matter if the disk has no room for it.
    """
    aside = f"{path}.new"
    try:
        with open(aside, "w", encoding="ascii", opener=regular) as file:
            file.write("\n".join([_MARK, current, f"{now!r} {wake_at!r}", *names]))
        os.replace(aside, path)
    except OSError:
        return
