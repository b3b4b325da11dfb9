"""Limit the memory of processes with the kernel's control groups, and count the processes that it killed.

Works with both versions of the interface, which differ by their files (cgroups(7)).
"""

import contextlib
import errno
import os

_MOUNTED = "/sys/fs/cgroup"
_NO_LIMIT = {"memory.max": "max", "memory.limit_in_bytes": "-1"}
"""The files that set a limit, of version 2 and of version 1, with the value that means no limit."""

# Version 2 and version 1; both have a line "oom_kill COUNT".
_EVENTS = ("memory.events", "memory.oom_control")


def _memberships() -> list[tuple[str, str]]:
    """Return the groups of this process: controllers (empty for version 2) and path."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    return [(controllers, path) for _number, controllers, path in lines]


def is_unit(unit: str) -> bool:
    """Return whether this process runs in the systemd unit of this name."""
    return any(path.rpartition("/")[2] == unit for _controllers, path in _memberships())


def own() -> str:
    """Return the folder of the group that accounts for this process's memory; empty if there is none."""
    memberships = dict(_memberships())
    for controllers, path in memberships.items():
        if "memory" in controllers.split(","):
            return f"{_MOUNTED}/memory{path}"
    return _MOUNTED + memberships[""] if "" in memberships else ""


def is_unified() -> bool:
    """Return whether the machine has only control groups of version 2."""
    return os.path.exists(f"{_MOUNTED}/cgroup.controllers")


def is_limited(group: str, limit: int) -> bool:
    """Return whether the kernel limits the processes of a group to at most `limit` bytes together."""
    for name in _NO_LIMIT:
        # Each version of the interface has only one of the two files.
        with contextlib.suppress(OSError), open(os.path.join(group, name), encoding="ascii") as file:
            found = file.read().strip()
            return found.isdigit() and int(found) <= limit  # "max" means no limit
    return False


def make(parent: str, name: str, limit: int) -> str:
    """Create a group whose processes may use `limit` bytes together; return its folder. OSError if that fails."""
    group = os.path.join(parent, name)
    with contextlib.suppress(OSError):
        os.rmdir(group)  # left behind by a killed run; a new group counts from zero
    with contextlib.suppress(FileExistsError):  # the old one still has processes
        os.mkdir(group)
    try:
        _enable_memory(parent, group)
        _write(os.path.join(group, _limit_file(group)), str(limit))
    except OSError:
        remove(group)
        raise
    return group


def _enable_memory(parent: str, group: str) -> None:
    """Enable the memory controller of a group of version 2, which is a setting of its parent."""
    switch = os.path.join(parent, "cgroup.subtree_control")
    if os.path.exists(switch) and not os.path.exists(os.path.join(group, "memory.max")):
        _write(switch, "+memory")


def _limit_file(group: str) -> str:
    for name in _NO_LIMIT:
        if os.path.exists(os.path.join(group, name)):
            return name
    raise OSError(errno.EOPNOTSUPP, "it has no memory controller", group)


def enter(group: str) -> None:
    """Move this process into a group, where its future children start as well."""
    # 0 stands for the process that writes, see cgroups(7).
    _write(os.path.join(group, "cgroup.procs"), "0")


def leave(group: str, *homes: str) -> None:
    """Move this process to the first of the `homes` that accepts it, and remove the group.

    If none does, lift the group's limit, so that it does not apply to later processes. OSError if that fails as well.
    """
    for home in homes:
        # A user may have the right to enter a group, and not to return to the old one.
        with contextlib.suppress(OSError):
            enter(home)
            return remove(group)
    name = _limit_file(group)
    return _write(os.path.join(group, name), _NO_LIMIT[name])


def remove(group: str) -> None:
    """Remove a group without processes; one with processes stays."""
    with contextlib.suppress(OSError):
        os.rmdir(group)


def kills(group: str) -> int:
    """Return how many processes of a group the kernel has killed for lack of memory; 0 if it does not count them."""
    for name in _EVENTS:
        with contextlib.suppress(OSError), open(os.path.join(group, name), encoding="ascii") as file:
            counts = dict(line.split() for line in file)
            return int(counts.get("oom_kill", 0))
    return 0


def _write(path: str, text: str) -> None:
    """Write to an existing file of the kernel in one call; OSError has the path."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(descriptor)
