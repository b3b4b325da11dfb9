"""Control groups of the kernel: what memory the processes in one may take, and how many were killed for it.

Both versions of the interface are spoken, and told apart by the files that are there (cgroups(7)).
"""

import contextlib
import errno
import os

_MOUNTED = "/sys/fs/cgroup"
_NO_LIMIT = {"memory.max": "max", "memory.limit_in_bytes": "-1"}
"""The files that take a limit, of version 2 and of version 1, and how each says that there is none."""

_EVENTS = ("memory.events", "memory.oom_control")


def _memberships() -> list[tuple[str, str]]:
    """The groups that this process is in, as controllers (none for version 2) and path."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    return [(controllers, path) for _number, controllers, path in lines]


def is_unit(unit: str) -> bool:
    """Whether this process runs in the unit of systemd that has this name."""
    return any(path.rpartition("/")[2] == unit for _controllers, path in _memberships())


def own() -> str:
    """The folder of the group that this process takes its memory in; empty when there is none."""
    memberships = dict(_memberships())
    for controllers, path in memberships.items():
        if "memory" in controllers.split(","):
            return f"{_MOUNTED}/memory{path}"
    return _MOUNTED + memberships[""] if "" in memberships else ""


def is_unified() -> bool:
    """Whether the machine has control groups of version 2 alone."""
    return os.path.exists(f"{_MOUNTED}/cgroup.controllers")


def is_limited(group: str, limit: int) -> bool:
    """Whether the kernel lets the processes of a group take no more than `limit` bytes together."""
    for name in _NO_LIMIT:
        with contextlib.suppress(OSError), open(os.path.join(group, name), encoding="ascii") as file:
            found = file.read().strip()
            return found.isdigit() and int(found) <= limit  # "max" means that there is none
    return False


def make(parent: str, name: str, limit: int) -> str:
    """Make a group whose processes may take `limit` bytes together; gives its folder. OSError says what hinders."""
    group = os.path.join(parent, name)
    with contextlib.suppress(OSError):
        os.rmdir(group)  # what a killed run left: a new group counts from nought
    with contextlib.suppress(FileExistsError):  # somebody is still in there
        os.mkdir(group)
    try:
        _hand_down(parent, group)
        _write(os.path.join(group, _limit_file(group)), str(limit))
    except OSError:
        remove(group)
        raise
    return group


def _hand_down(parent: str, group: str) -> None:
    """See to it that a group of version 2 has the memory controller, which its parent must hand down."""
    switch = os.path.join(parent, "cgroup.subtree_control")
    if os.path.exists(switch) and not os.path.exists(os.path.join(group, "memory.max")):
        _write(switch, "+memory")


def _limit_file(group: str) -> str:
    for name in _NO_LIMIT:
        if os.path.exists(os.path.join(group, name)):
            return name
    raise OSError(errno.EOPNOTSUPP, "it has no memory controller", group)


def enter(group: str) -> None:
    """Move this process into a group, and with it the children that it will have."""
    _write(os.path.join(group, "cgroup.procs"), "0")


def leave(group: str, *homes: str) -> None:
    """Move this process to the first of the homes that takes it, and remove the group; else lift the group's limit, so
    that what this process starts from now on is not under it. OSError when not even that can be done.
    """
    for home in homes:
        with contextlib.suppress(OSError):  # an ordinary user may be taken in by a group and not let back
            enter(home)
            return remove(group)
    name = _limit_file(group)
    return _write(os.path.join(group, name), _NO_LIMIT[name])


def remove(group: str) -> None:
    """Remove a group that nobody is in; any other stays."""
    with contextlib.suppress(OSError):
        os.rmdir(group)


def kills(group: str) -> int:
    """How many processes of a group the kernel has killed for want of memory; 0 where nobody counts."""
    for name in _EVENTS:
        with contextlib.suppress(OSError), open(os.path.join(group, name), encoding="ascii") as file:
            counts = dict(line.split() for line in file)
            return int(counts.get("oom_kill", 0))
    return 0


def _write(path: str, text: str) -> None:
    """Write to a file of the kernel's, which must be there, in one go; OSError names it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.close(descriptor)
