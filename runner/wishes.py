"""Wishes: files by which one program asks for another under systemd, where path units look at them.

A wish is taken back by the program itself before it looks at anything, so that one which comes while it is at work
starts it once more. Even an idle tick loads this module.
"""

import os

from runner.places import Places


def leave(places: Places, wish: str) -> None:
    """Ask for `tick`, `follow` or `measure/NAME`; OSError when that cannot be written."""
    path = places.wish(wish)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))


def take(places: Places, wish: str) -> None:
    """Take back a wish that is about to be fulfilled, if there is one."""
    try:
        os.unlink(places.wish(wish))
    except OSError:  # there was none, or the disk takes no change: then it is fulfilled once more
        return


def open_ones(places: Places, kind: str) -> list[str]:
    """The wishes of a kind that has many, `measure`."""
    try:
        return sorted(os.listdir(places.wish(kind)))
    except FileNotFoundError:
        return []
