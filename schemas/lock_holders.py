"""Which processes hold a lock? Found in /proc, also if the lock file was deleted, replaced or moved with its folder.

Finds only processes that this user may inspect. Cheap to import, since ticks and runs use it.
"""

import os
from collections.abc import Callable


def holders(path: str, moved_below: str = "") -> list[int]:
    """Return the other processes that hold the lock of a file or directory, also after it was deleted or replaced.

    A lock that was moved with the two folders above it is found below the folder `moved_below`. Processes that wait
    for the lock, or test it, are not included.
    """
    real = os.path.realpath(path)
    below, tail = os.path.realpath(moved_below) + "/", "/" + "/".join(real.split("/")[-2:])

    def is_it(target: str) -> bool:
        place = target.removesuffix(" (deleted)")
        return place == real or bool(moved_below and place.startswith(below) and place.endswith(tail))

    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if pid != os.getpid() and _holds(pid, is_it)]


def described(path: str) -> str:
    """Return the processes that hold a lock and since when they run, for a message."""
    found = [_described(pid) for pid in holders(path)]
    return ", ".join(found) or "a process that this user cannot see"


def _holds(pid: int, is_it: Callable[[str], bool]) -> bool:
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:  # it has ended, or belongs to another user, who cannot hold this lock
        return False
    return any(_is_locked(pid, name, is_it) for name in names)


def _is_locked(pid: int, name: str, is_it: Callable[[str], bool]) -> bool:
    """Return whether /proc shows an exclusive lock on an open file, whichever process has taken it."""
    try:
        if not is_it(os.readlink(f"/proc/{pid}/fd/{name}")):
            return False
        with open(f"/proc/{pid}/fdinfo/{name}", encoding="ascii") as file:
            # A shared lock, as on the folders above a mirror's directory, is shown as READ.
            return any(line.startswith("lock:") and " WRITE " in line for line in file)
    except OSError:  # it was closed meanwhile
        return False


def _described(pid: int) -> str:
    from schemas.regular_files import read_beginning
    from schemas.units import format_duration

    try:
        # The last parenthesis ends the name of the program, which may contain blanks and parentheses itself.
        before, _, after = read_beginning(f"/proc/{pid}/stat", 4096).decode(errors="replace").rpartition(")")
        began = int(after.split()[19]) / os.sysconf("SC_CLK_TCK")  # field 22 of proc(5), in ticks
        age = float(read_beginning("/proc/uptime", 100).split()[0]) - began
    except (OSError, ValueError, IndexError):
        return f"process {pid}"
    return f"process {pid} ({before.partition('(')[2]}), started {format_duration(max(0, round(age)))} ago"
