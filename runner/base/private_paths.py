"""Paths of a machine that no definition may show to an upstream, to a container or to a sync."""

import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from runner.base.mirror_paths import lies_in
from runner.base.state_dir import StateLayout
from schemas.records import Mirror, Policy, RunnerSettings

_CREDENTIALS = "/etc/skipjack/credentials"
SYSTEM = ("/etc/shadow", "/proc", "/sys", "/dev", "/root")
"""What no policy can mean when it lists folders with files of patterns."""


class Private(NamedTuple):
    """What of a machine is no definition's business: paths, each with where its links lead.

    `secrets` are the files with secrets and the machine's own files of that kind; `holders` has one of each folder,
    with where that folder is. `own` are the names in the state directory and the run directory, `folders` the worker's
    folders by the keys of its settings. `known` and `why` remember what was looked up: where folders are, and what is
    wrong with folders for patterns.
    """

    secrets: tuple[tuple[str, str], ...]
    holders: tuple[tuple[str, str], ...]
    own: tuple[str, ...]
    folders: tuple[tuple[str, str, str], ...]
    known: dict[str, str]
    why: dict[str, str]

    def real(self, folder: str) -> str:
        """Where a folder of the machine really is, looked up once."""
        if folder not in self.known:
            self.known[folder] = os.path.realpath(folder)
        return self.known[folder]

    @property
    def paths(self) -> tuple[str, ...]:
        """The secrets as they are named."""
        return tuple([path for path, _real in self.secrets])


def private(settings: RunnerSettings, mirrors: Sequence[Mirror] = ()) -> Private:
    """What is private on a machine with these settings and definitions."""
    layout = StateLayout(settings.state_dir)
    own = [*(os.path.join(layout.state_dir, name) for name in layout.OWN), settings.run_dir]
    keys = ("state_dir", "run_dir", "log_dir", "snapshot_root")
    folders = [(key, getattr(settings, key)) for key in keys]
    found = tuple([(path, os.path.realpath(path)) for path in secrets(settings, mirrors)])
    return Private(
        found,
        tuple([(path, folder) for folder, path in {os.path.dirname(real): path for path, real in found}.items()]),
        tuple(map(os.path.realpath, own)),
        tuple([(key, path, os.path.realpath(path)) for key, path in folders]),
        {},
        {},
    )


def secrets(settings: RunnerSettings, mirrors: Sequence[Mirror] = ()) -> tuple[str, ...]:
    """The files with secrets that the settings and the definitions name, and the machine's own files of that kind."""
    token = settings.manager.token if settings.manager else None
    passwords = [mirror.password.file for mirror in mirrors if mirror.password is not None]
    named = [token.file if token else None, *passwords, settings.policy, *credentials()]
    beside = os.path.join(os.path.dirname(settings.policy), "runner.yml")  # it may hold the repository's password
    return tuple(dict.fromkeys([path for path in (*named, beside) if path]))


def is_below(real: str, real_folder: str) -> bool:
    """Whether a path is something below a folder and not the folder itself; both without links."""
    return real != real_folder and is_within(real, real_folder)


def is_within(real: str, real_folder: str) -> bool:
    """Whether a path is a folder or something below it; both without links."""
    return real == real_folder or real.startswith(real_folder.rstrip("/") + "/")


def credentials() -> Iterator[str]:
    """The folders with the secrets that systemd gives to units."""
    yield _CREDENTIALS
    own = os.environ.get("XDG_CONFIG_HOME") or os.path.join(account_home(), ".config")
    yield os.path.join(own, "skipjack/credentials")
    if folder := os.environ.get("CREDENTIALS_DIRECTORY"):
        yield folder


def account_home() -> str:
    """The home of the worker's user as the machine's accounts have it; `/` for a user without an account."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir or "/"
    except KeyError:
        return "/"


def shared_folders(settings: RunnerSettings, policy: Policy) -> tuple[str, ...]:
    """The folders that definitions choose from for mirrors, logs and snapshots, so that upstreams write to them."""
    roots = (settings.mirror_root, *policy.mirror_roots, settings.log_dir, *policy.log_roots, settings.snapshot_root)
    return tuple(dict.fromkeys(roots))


def worker_folders(settings: RunnerSettings, policy: Policy) -> tuple[str, ...]:
    """All folders that a worker and what it syncs write to."""
    return (settings.state_dir, settings.run_dir, *shared_folders(settings, policy))


def why_no_pattern_folder(folder: str, settings: RunnerSettings, policy: Policy, private: Sequence[str]) -> str:
    """Why no file of a folder may be sent to an upstream: it holds a secret, or could. Empty when all is well."""
    for path in (*private, account_home(), *SYSTEM):
        if lies_in(path, folder):
            return f"it holds {path}"
    for path in (*private, *SYSTEM, *worker_folders(settings, policy)):
        if lies_in(folder, path):
            return f"it lies in {path}"
    return next((f"it holds {path}" for path in worker_folders(settings, policy) if lies_in(path, folder)), "")


def is_other_than_file(path: str) -> bool:
    """Whether there is something at a path that is not a regular file, such as a folder, a device or a pipe."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def is_secret(path: str, private: Sequence[str]) -> bool:
    """Whether a path is one of the private ones, or lies in one, wherever links lead."""
    return any(lies_in(path, each) for each in private)
