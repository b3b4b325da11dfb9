"""The mount points of this machine, from the kernel."""

import os
import re

_SHOWN = "/proc/self/mountinfo"
_ESCAPED = re.compile(rb"\\([0-7]{3})")


def points() -> list[str]:
    """Return the mount points; none where the kernel does not show them, as on FreeBSD."""
    try:
        with open(_SHOWN, "rb") as file:
            return [_plain(line.split()[4]) for line in file]
    except FileNotFoundError:
        return []


def _plain(field: bytes) -> str:
    """Return a path without the kernel's escapes, such as `\\040` for a space."""
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), field))
