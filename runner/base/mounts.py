"""What is mounted on this machine, from the kernel."""

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

_SHOWN = "/proc/self/mountinfo"
_ESCAPED = re.compile(rb"\\([0-7]{3})")


class Mount(NamedTuple):
    """A line of /proc/self/mountinfo: mount point, device (`MAJOR:MINOR`), type and source; see proc(5)."""

    place: str
    device: str
    type: str
    source: str


def mounts() -> Iterator[Mount]:
    """Yield all mounts; a later one may hide an earlier one."""
    with open(_SHOWN, "rb") as file:
        for line in file:
            before, _, after = line.partition(b" - ")
            kind, source, *_options = after.split()
            device, _root, place = before.split()[2:5]
            yield Mount(*(_plain(field) for field in (place, device, kind, source)))


def points() -> list[str]:
    """Return the mount points; none where the kernel does not show them, as on FreeBSD."""
    try:
        return [mount.place for mount in mounts()]
    except FileNotFoundError:
        return []


def _plain(field: bytes) -> str:
    """Return a field without the kernel's escapes, such as `\\040` for a space."""
    return os.fsdecode(_ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), field))
