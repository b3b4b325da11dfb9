"""The environment of the programs that a run starts.

A definition decides what runs, so the worker's environment must not give it more power: no agent or token of the
person who started the worker by hand, and no variable that makes a program load code. `PATH` and `HOME` are set here,
so that `PATH` has no folder of a mirror and no mirror can write to `HOME`.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from runner.base.mirror_paths import lies_in

SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The `PATH` when the worker's own has no safe folder."""

OF_CONTAINER_PROGRAMS = (
    "BUILDAH_*", "CONTAINER*", "DBUS_SESSION_BUS_ADDRESS", "DOCKER_*", "PODMAN_*", "REGISTRY_AUTH_FILE", "TMPDIR",
    "XDG_*",
)  # fmt: skip
"""Variables that docker and podman read themselves, such as the daemon's address; containers do not get them."""

OURS = ("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "RSYNC_PASSWORD")
"""Variables of systemd or an administrator for the worker alone: no program gets them, whatever a policy lists."""

_PASSED_ON = ("USER", "LOGNAME", "SHELL")


def environment(home: str, roots: Sequence[str], names: Sequence[str], more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program: `more`, and the worker's own variables that match the patterns `names`.

    `roots` are the folders that mirrors write to. `PATH` and `HOME` are always the worker's, also against `more`.
    """
    fits = _name_test((*_PASSED_ON, *names))
    own = {key: value for key, value in os.environ.items() if key not in OURS and fits(key)}
    return own | dict(more) | {"PATH": search_path(roots), "HOME": home}


def _name_test(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Return a test whether a name matches one of the patterns.

    Nearly all patterns are whole names or end in their only `*`. These are compared directly, since every run does it
    and compiling patterns takes milliseconds.
    """
    names = frozenset(each for each in patterns if not set(each) & set("*?["))
    beginnings = tuple(each[:-1] for each in patterns if each.endswith("*") and not set(each[:-1]) & set("*?["))
    others = [each for each in patterns if each not in names and each[:-1] not in beginnings]
    if not others:
        return lambda name: name in names or name.startswith(beginnings)
    from fnmatch import fnmatchcase

    return lambda name: name in names or name.startswith(beginnings) or any(fnmatchcase(name, each) for each in others)


def search_path(roots: Sequence[str]) -> str:
    """Return the worker's `PATH` without relative folders and without folders that mirrors write to."""
    real_roots = {os.path.realpath(root) for root in roots}
    folders = [each for each in os.environ.get("PATH", SEARCH).split(":") if each.startswith("/")]
    kept = [each for each in folders if not _is_in_any(os.path.realpath(each), real_roots)]
    return ":".join(kept) or SEARCH


def _is_in_any(path: str, folders: Iterable[str]) -> bool:
    """Return whether a path is one of the folders or below one; all must be free of links."""
    return any(os.path.commonpath([path, folder]) == folder for folder in folders)


def safe_home(account: str, own: str, roots: Sequence[str]) -> str:
    """Return the home of the worker's account if no mirror can write to it or its hidden folders, else `own`."""
    if account in ("", "/") or not account.startswith("/") or not os.path.isdir(account):
        return own
    for root in roots:
        # Hidden folders of a home have settings from which programs load code, such as `.config` and `.ssh`.
        below = os.path.relpath(os.path.realpath(root), os.path.realpath(account))
        if lies_in(account, root) or (lies_in(root, account) and below.startswith(".")):
            return own
    return account
