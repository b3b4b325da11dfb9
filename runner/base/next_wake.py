"""The next-wake cache: until when a tick has nothing to do, so that such a tick costs next to nothing.

One small file says until when no mirror becomes due and which runs must be looked after. It is bound to the exact state
of the plan's and the journal's files, so it is void as soon as one of them changes and need not be deleted.

An idle tick starts every few minutes on every worker and loads only this package. So this module imports only what
every Python has loaded, and reads the file without the text layer.
"""

import os

from runner.base import locks
from runner.base.state_dir import StateLayout

_MARK = b"skipjack-agenda-1"  # a release that changes the format changes the number, and ignores files of others

_MOST = 1024**2
"""Bytes of the file that are read. The names of all running mirrors take less."""

SETTLED = 1.0
"""Seconds for which the files must be unchanged: two writes within one clock tick can leave the same time stamp."""

UNCHECKED = 600.0
"""Seconds after which programs other than `follow`, which does so every three minutes, check the units."""


def is_idle(layout: StateLayout, now: float) -> bool:
    """Return whether a tick has nothing to do: no file changed, no mirror is due, every run has its supervisor."""
    if are_units_unchecked(layout, now):
        return False
    names = read(layout.next_wake, stamp(watched(layout))[0], now)
    return names is not None and all(locks.is_held(layout.lock("supervisor", name)) for name in names)


def are_units_unchecked(layout: StateLayout, now: float) -> bool:
    """Return whether the last check of the units is long ago; False where there never was one (see `unit_health`)."""
    try:
        # abs, since a clock that was set back must not put off the check.
        return abs(now - os.stat(layout.units).st_mtime) > UNCHECKED
    except OSError:  # there are no units, or `follow` has not checked them yet
        return False


def watched(layout: StateLayout) -> tuple[str, ...]:
    """Return the files whose change makes the cache void."""
    return layout.plan, layout.journal, f"{layout.journal}-wal"


def stamp(paths: tuple[str, ...]) -> tuple[str, float]:
    """Return the state of some files as text, and their newest modification time (0 without any file)."""
    parts, newest = [], 0.0
    for path in paths:
        try:
            found = os.stat(path)
        except FileNotFoundError:  # such as the `-wal` file, which SQLite creates only for changes
            parts.append("-")
            continue
        # The inode, since `follow` replaces the plan by a rename, perhaps within one tick of the file system's clock.
        parts.append(f"{found.st_ino}:{found.st_size}:{found.st_mtime_ns}")
        newest = max(newest, found.st_mtime)
    return " ".join(parts), newest


def read(path: str, current: str, now: float) -> list[str] | None:
    """Return the mirrors whose runs must be looked after, or None when a tick is needed."""
    try:
        mark, bound, times, *names = _content(path).split(b"\n")
        made_at, wake_at = map(float, times.split())
        found = [os.fsdecode(name) for name in names if name]
    except (OSError, ValueError):  # missing, torn, or of another release
        return None
    # A cache from the future was written before the clock was set back, so its `wake_at` says nothing.
    return found if mark == _MARK and bound == current.encode() and made_at <= now < wake_at else None


def _content(path: str) -> bytes:
    """Return the content of the file. A named pipe or a device in its place must not hang the tick."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST)
    finally:
        os.close(descriptor)


def write(path: str, current: str, now: float, wake_at: float, names: list[str]) -> None:
    """Write the cache for the next tick.

    Not synced, and a full disk does not matter: a lost file costs one tick, and a torn one is not valid.
    """
    from schemas.regular_files import replace_regular  # an idle tick does without

    content = b"\n".join([_MARK, current.encode(), f"{now!r} {wake_at!r}".encode(), *map(os.fsencode, names)])
    try:
        replace_regular(path, content)
    except OSError:
        return
