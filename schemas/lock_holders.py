"""Which processes hold a lock, found in /proc: also one whose file was deleted, replaced or moved with its folder.

Only processes that this user may look into are found. No imports of weight: ticks and runs ask as well.
"""

import os
from collections.abc import Callable


def holders(path: str, moved_below: str = "") -> list[int]:
    """Return the other processes that hold the lock of a file or directory, also after it was deleted or replaced.

    Below the folder `moved_below` one is found that was moved with the two folders above it. Processes that wait for
    the lock or look whether it is held are not among them.
    """
    real = os.path.realpath(path)
    below, tail = os.path.realpath(moved_below) + "/", "/" + "/".join(real.split("/")[-2:])

    def is_it(target: str) -> bool:
        place = target.removesuffix(" (deleted)")
        return place == real or bool(moved_below and place.startswith(below) and place.endswith(tail))

    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if pid != os.getpid() and _holds(pid, is_it)]


def described(path: str) -> str:
    """Name the processes that hold a lock and how long ago they began, for a message."""
    found = [_described(pid) for pid in holders(path)]
    return ", ".join(found) or "a process that this user cannot see"


def _holds(pid: int, is_it: Callable[[str], bool]) -> bool:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:  # gone meanwhile, or somebody else's, who cannot have our lock
        return False
    return any(_is_locked(pid, name, is_it) for name in names)


def _is_locked(pid: int, name: str, is_it: Callable[[str], bool]) -> bool:
    """Tell by its description in /proc whether an open file is locked for its holder alone, by whomever it was."""
    try:
        if not is_it(os.readlink(f"/proc/{pid}/fd/{name}")):
            return False
        with open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as file:
            return any(line.startswith("lock:") and " WRITE " in line for line in file)
    except OSError:  # closed meanwhile
        return False


def _described(pid: int) -> str:
    from schemas.regular_files import read_beginning
    from schemas.units import format_duration

    try:
        before, _, after = read_beginning(f"/proc/{pid}/stat", 4096).decode(errors="replace").rpartition(")")
        began = int(after.split()[19]) / os.sysconf("SC_CLK_TCK")
        age = float(read_beginning("/proc/uptime", 100).split()[0]) - began
    except (OSError, ValueError, IndexError):
        return f"process {pid}"
    return f"process {pid} ({before.partition('(')[2]}), which began {format_duration(max(0, round(age)))} ago"
