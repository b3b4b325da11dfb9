"""Paths of a machine that no definition may expose to an upstream, a container or a sync."""

import os
import pwd
import stat
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from runner.base.mirror_paths import is_within, lies_in
from runner.base.state_dir import StateLayout
from schemas.records import Mirror, Policy, RunnerSettings

_TRUSTED = frozenset({0})
"""Users whose links are followed, beside the worker's own: root."""

_MOST_LINKS = 40
"""Links in one path at most, as in the kernel."""

_CREDENTIALS = "/etc/skipjack/credentials"
SYSTEM = ("/etc/shadow", "/proc", "/sys", "/dev", "/root")
"""Paths that `pattern_files` can never cover."""


class Private(NamedTuple):
    """A machine's private paths, most of them with their real path (all links followed).

    `secrets` are the secret files that settings and definitions name and the machine's own; `holders` has one of them
    for each folder, with that folder's real path. `own` are the paths in the state directory and the run directory,
    `beside_own` how the paths of further files there begin, `folders` the worker's folders by the keys of its settings.
    `known` and `why` are caches: the real paths of folders, and why folders may not hold pattern files.
    """

    secrets: tuple[tuple[str, str], ...]
    holders: tuple[tuple[str, str], ...]
    own: tuple[str, ...]
    beside_own: tuple[str, ...]
    folders: tuple[tuple[str, str, str], ...]
    known: dict[str, str]
    why: dict[str, str]

    def real(self, folder: str) -> str:
        """Return the real path of a folder, cached."""
        if folder not in self.known:
            self.known[folder] = os.path.realpath(folder)
        return self.known[folder]

    def is_own(self, real: str) -> bool:
        """Return whether a real path is one that the worker itself uses, or lies in one."""
        return real.startswith(self.beside_own) or any(is_within(real, own) for own in self.own)

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the secret files as they are named, links not followed."""
        return tuple([path for path, _real in self.secrets])


def private(
    settings: RunnerSettings, mirrors: Sequence[Mirror] = (), known: Mapping[str, str] = MappingProxyType({})
) -> Private:
    """Return the private paths of a machine with these settings and definitions.

    `known` are the real paths of folders that must not be resolved again.
    """
    own = [*StateLayout(settings.state_dir).own(), settings.run_dir]
    keys = ("state_dir", "run_dir", "log_dir", "snapshot_root")
    folders = [(key, getattr(settings, key)) for key in keys]
    found = tuple([(path, os.path.realpath(path)) for path in secrets(settings, mirrors)])
    return Private(
        found,
        # One secret for each folder is enough to name, and each mirror is compared with all of them.
        tuple([(path, folder) for folder, path in {os.path.dirname(real): path for path, real in found}.items()]),
        tuple(map(os.path.realpath, own)),
        tuple(StateLayout(os.path.realpath(settings.state_dir)).beside_own()),
        tuple([(key, path, os.path.realpath(path)) for key, path in folders]),
        dict(known),
        {},
    )


def secrets(settings: RunnerSettings, mirrors: Sequence[Mirror] = ()) -> tuple[str, ...]:
    """Return the secret files that the settings and the definitions name, and the machine's own."""
    token = settings.manager.token if settings.manager else None
    passwords = [mirror.password.file for mirror in mirrors if mirror.password is not None]
    named = [token.file if token else None, *passwords, settings.policy, *credentials()]
    beside = os.path.join(os.path.dirname(settings.policy), "runner.yml")  # it may hold the repository's password
    return tuple(dict.fromkeys([path for path in (*named, beside) if path]))


def credentials() -> Iterator[str]:
    """Yield the folders with the credentials that systemd gives to units."""
    yield _CREDENTIALS
    # Those of units of the user's own service manager (`skipjack install --user`).
    own = os.environ.get("XDG_CONFIG_HOME") or os.path.join(account_home(), ".config")
    yield os.path.join(own, "skipjack/credentials")
    if folder := os.environ.get("CREDENTIALS_DIRECTORY"):
        yield folder


def account_home() -> str:
    """Return the home of the worker's user from the account database; `/` for a user without an account."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir or "/"
    except KeyError:
        return "/"


def trusted_path(path: str) -> str:
    """Return the real path of an entry of the policy, for runs to compare with, which do not resolve it again.

    A link of a user other than root and the worker's is not followed: it may be one moment's link to a secret.
    """
    left, place, links = path.split("/")[::-1], "/", 0
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            place = os.path.dirname(place)
            continue
        target = _target(os.path.join(place, name))
        links += target is not None
        if target is None or links > _MOST_LINKS:
            place = os.path.join(place, name)
            continue
        place = "/" if target.startswith("/") else place
        left += target.split("/")[::-1]
    return place


def _target(path: str) -> str | None:
    """Return the target of a link that root or the worker's user has made; None for anything else."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        is_trusted = stat.S_ISLNK(found.st_mode) and found.st_uid in (*_TRUSTED, os.geteuid())
        return os.readlink("", dir_fd=descriptor) if is_trusted else None
    finally:
        os.close(descriptor)


def shared_folders(settings: RunnerSettings, policy: Policy) -> tuple[str, ...]:
    """Return the folders in which definitions place mirrors, logs and snapshots: upstreams can write to them."""
    roots = (settings.mirror_root, *policy.mirror_roots, settings.log_dir, *policy.log_roots, settings.snapshot_root)
    return tuple(dict.fromkeys(roots))


def worker_folders(settings: RunnerSettings, policy: Policy) -> tuple[str, ...]:
    """Return all folders that a worker and its syncs write to."""
    return (settings.state_dir, settings.run_dir, *shared_folders(settings, policy))


def why_no_pattern_folder(real: str, settings: RunnerSettings, policy: Policy, private: Sequence[str]) -> str:
    """Return why files of a folder may not be sent to an upstream: it holds a secret, or could. Else empty.

    The folder is given by its real path, which is not resolved again: a run uses the same one.
    """
    for path in (*private, account_home(), *SYSTEM):
        if is_within(os.path.realpath(path), real):
            return f"it holds {path}"
    for path in (*private, *SYSTEM, *worker_folders(settings, policy)):
        if is_within(real, os.path.realpath(path)):
            return f"it lies in {path}"
    folders = (path for path in worker_folders(settings, policy) if is_within(os.path.realpath(path), real))
    return next((f"it holds {path}" for path in folders), "")


def is_other_than_file(path: str) -> bool:
    """Return whether a path leads to something that is not a regular file, such as a folder, a device or a pipe."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def is_secret(path: str, private: Sequence[str]) -> bool:
    """Return whether a path is one of the private paths or lies in one, with all links followed."""
    return any(lies_in(path, each) for each in private)
