"""Wishes: files by which one program asks for another under systemd, where path units look at them.

A wish is taken back by the program itself before it looks at anything, so that one which comes while it is at work
starts it once more. Even an idle tick loads this module.
"""

import os
import time

from runner.base.state_dir import StateLayout

UNTAKEN_PAUSE = 1.0
"""Seconds to wait when a wish cannot be taken back, since the path unit starts its program again at once."""


def leave(layout: StateLayout, request: str) -> None:
    """Ask for `tick`, `start` (a tick that starts requested mirrors alone), `follow` or `measure/NAME`; OSError when
    that cannot be written."""
    path = layout.start_request(request)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o640))


def take(layout: StateLayout, request: str) -> bool:
    """Take back a wish that is about to be fulfilled; True if there was one."""
    try:
        os.unlink(layout.start_request(request))
    except FileNotFoundError:
        return False
    except OSError:  # the disk takes no change: it is fulfilled once more, but not hundreds of times a minute
        time.sleep(UNTAKEN_PAUSE)
        return False
    return True


def pending(layout: StateLayout, kind: str) -> list[str]:
    """The wishes of a kind that has many, `measure`."""
    try:
        return sorted(os.listdir(layout.start_request(kind)))
    except FileNotFoundError:
        return []
