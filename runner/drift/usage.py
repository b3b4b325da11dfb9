"""How large is a directory, and when did it change last? Measured in bounded time."""

import os
import time
from collections.abc import Callable

from runner.drift.items import Usage

_PAUSE = 0.2
"""Seconds between two calls of `progress`."""


def measured(directory: str, until: float, progress: Callable[[int], None]) -> Usage:
    """Return the usage of a directory; a part of it if the walk lasts until the moment `until` (monotonic).

    Links are not followed, and other file systems not entered. A hard-linked file counts once for each name. `progress`
    gets the bytes so far.
    """
    top = os.lstat(directory)
    size, newest, shown_at = 0, top.st_mtime, time.monotonic()
    waiting = [directory]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as scanned:
                entries = list(scanned)
        except OSError:  # of another user, or removed
            continue
        for entry in entries:
            if time.monotonic() >= until:
                return Usage(size, newest, complete=False)
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            newest = max(newest, found.st_mtime)
            if entry.is_dir(follow_symlinks=False):
                waiting += [entry.path] if found.st_dev == top.st_dev else []
            else:
                size += found.st_size
        if time.monotonic() - shown_at >= _PAUSE:
            progress(size)
            shown_at = time.monotonic()
    return Usage(size, newest, complete=True)
