"""Start requests: files with which one program asks systemd, whose path units watch them, to start another one.

The started program removes its request before it does anything else, so that a request which arrives while it works
starts it once more. Every idle tick loads this module, so it imports next to nothing.
"""

import os
import time

from runner.base.state_dir import StateLayout

UNTAKEN_PAUSE = 1.0
"""Seconds to wait if a request cannot be removed, since the path unit starts its program again at once."""


STUCK_PAUSE = 30.0
"""Seconds for which a tick stays active after its work if its request cannot be removed, for the same reason."""


def leave(layout: StateLayout, request: str) -> None:
    """Request `tick`, `start` (a tick that launches only requested mirrors), `follow` or `measure/NAME`.

    OSError if the file cannot be created.
    """
    path = layout.start_request(request)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # Without waiting: a named pipe in its place must not hang a run that ends.
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o640))


def take(layout: StateLayout, request: str) -> bool:
    """Remove a request before it is served; return whether there was one."""
    path = layout.start_request(request)
    try:
        try:
            os.unlink(path)
        except IsADirectoryError:
            os.rmdir(path)
    except FileNotFoundError:
        return False
    except OSError:  # a read-only disk: it is served again and again, but not hundreds of times a minute
        time.sleep(UNTAKEN_PAUSE)
        return False
    return True


def is_open(layout: StateLayout, request: str) -> bool:
    """Return whether there is a request that no program has taken."""
    return os.path.lexists(layout.start_request(request))


def wait_if_stuck(layout: StateLayout, *kinds: str) -> None:
    """Wait if a request is open in a folder in which nothing can be removed."""
    # A request in another folder may have arrived since, and is taken by the next program.
    if any(is_open(layout, each) for each in kinds) and not os.access(layout.start_requests, os.W_OK):
        time.sleep(STUCK_PAUSE)


def pending(layout: StateLayout, kind: str) -> list[str]:
    """Return the names of the open requests of a kind that has many, such as `measure`."""
    try:
        return sorted(os.listdir(layout.start_request(kind)))
    except FileNotFoundError:
        return []


def age(layout: StateLayout, request: str, now: float) -> float:
    """Return the age of a request in seconds, of the oldest one for a kind that has many; 0 if there is none."""
    path = layout.start_request(request)
    try:
        # systemd ignores hidden files in a folder.
        is_folder = os.path.isdir(path)
        found = [os.path.join(path, name) for name in os.listdir(path) if name[0] != "."] if is_folder else [path]
        return max((now - os.lstat(each).st_mtime for each in found), default=0.0)
    except OSError:  # it was taken
        return 0.0
