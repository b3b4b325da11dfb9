"""The environment of the programs that a run starts: what they get of the worker's own, and where they find programs.

A definition decides what runs, so nothing of the worker's environment may give it more power: no agent or token of
whoever started the worker by hand, and no variable by which a program loads code. `PATH` and `HOME` are set here, so
that no folder of a mirror is in the one and no mirror can write to the other.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from runner.base.mirror_paths import lies_in

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for when the worker's own `PATH` has no folder that is safe."""

OF_CONTAINER_PROGRAMS = (
    "BUILDAH_*", "CONTAINER*", "DBUS_SESSION_BUS_ADDRESS", "DOCKER_*", "PODMAN_*", "REGISTRY_AUTH_FILE", "TMPDIR",
    "XDG_*",
)  # fmt: skip
"""What the program that starts containers reads itself, such as where its daemon listens; containers get none of it."""

OURS = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "RSYNC_PASSWORD")
"""What systemd or an administrator tells the worker alone: no other program gets it, whatever a policy lists."""

_PASSED_ON = ("USER", "LOGNAME", "SHELL")


def environment(home: str, roots: Sequence[str], names: Sequence[str], more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program: `more`, and beside it the worker's own variables whose names fit `names`.

    `roots` are the folders that mirrors write to. Whatever `more` says, `PATH` and `HOME` are the runner's.
    """
    fits = _name_test((*_PASSED_ON, *names))
    own = {key: value for key, value in os.environ.items() if key not in OURS and fits(key)}
    return own | dict(more) | {"PATH": search_path(roots), "HOME": home}


def _name_test(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a name fits any of some patterns. Nearly all are whole names or end in their only `*`: every run needs
    this, and compiling each pattern takes it milliseconds."""
    names = frozenset(each for each in patterns if not set(each) & set("*?["))
    beginnings = tuple(each[:-1] for each in patterns if each.endswith("*") and not set(each[:-1]) & set("*?["))
    others = [each for each in patterns if each not in names and each[:-1] not in beginnings]
    if not others:
        return lambda name: name in names or name.startswith(beginnings)
    from fnmatch import fnmatchcase

    return lambda name: name in names or name.startswith(beginnings) or any(fnmatchcase(name, each) for each in others)


def search_path(roots: Sequence[str]) -> str:
    """The worker's `PATH` without folders that are not absolute, or lie below a folder that mirrors write to."""
    real_roots = {os.path.realpath(root) for root in roots}
    folders = [each for each in os.environ.get("PATH", SEARCH).split(":") if each.startswith("/")]
    kept = [each for each in folders if not _is_in_any(os.path.realpath(each), real_roots)]
    return ":".join(kept) or SEARCH


def _is_in_any(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of some folders or below one; all without links."""
    return any(os.path.commonpath([path, folder]) == folder for folder in folders)


def safe_home(account: str, own: str, roots: Sequence[str]) -> str:
    """The home of the worker's account if no mirror can write to it or to its hidden folders, else the folder `own`."""
    if account in ("", "/") or not account.startswith("/") or not os.path.isdir(account):
        return own
    for root in roots:
        below = os.path.relpath(os.path.realpath(root), os.path.realpath(account))
        if lies_in(account, root) or (lies_in(root, account) and below.startswith(".")):
            return own
    return account
