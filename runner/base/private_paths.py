"""Paths of a machine that no definition may expose to an upstream, a container or a sync."""

import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from runner.base import file_view
from runner.base.file_view import FileView
from runner.base.mirror_paths import is_within, lies_in
from runner.base.state_dir import StateLayout
from schemas.records import Mirror, Policy, RunnerSettings

_CREDENTIALS = "/etc/skipjack/credentials"
SYSTEM = ("/etc/shadow", "/proc", "/sys", "/dev", "/root")
"""Paths that `pattern_files` can never cover."""


class Private(NamedTuple):
    """A machine's private paths, most of them with their real path (all links followed).

    `secrets` are the secret files that settings and definitions name and the machine's own; `holders` has one of them
    for each folder, with that folder's real path. `own` are the paths in the state directory and the run directory,
    `beside_own` how the paths of further files there begin, `folders` the worker's folders by the keys of its settings.
    `known` and `why` are caches: the real paths of folders, and why folders may not hold pattern files. `files` is the
    view that all of them come from.
    """

    secrets: tuple[tuple[str, str], ...]
    holders: tuple[tuple[str, str], ...]
    own: tuple[str, ...]
    beside_own: tuple[str, ...]
    folders: tuple[tuple[str, str, str], ...]
    known: dict[str, str]
    why: dict[str, str]
    files: FileView

    def real(self, folder: str) -> str:
        """Return the real path of a folder, cached."""
        if folder not in self.known:
            self.known[folder] = self.files.real(folder)
        return self.known[folder]

    def is_own(self, real: str) -> bool:
        """Return whether a real path is one that the worker itself uses, or lies in one."""
        return real.startswith(self.beside_own) or any(is_within(real, own) for own in self.own)

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the secret files as they are named, links not followed."""
        return tuple([path for path, _real in self.secrets])


def private(
    settings: RunnerSettings,
    mirrors: Sequence[Mirror] = (),
    known: Mapping[str, str] = MappingProxyType({}),
    files: FileView = file_view.MACHINE,
) -> Private:
    """Return the private paths of a machine with these settings and definitions.

    `known` are the real paths of folders that must not be resolved again.
    """
    own = [*StateLayout(settings.state_dir).own(), settings.run_dir]
    keys = ("state_dir", "run_dir", "log_dir", "snapshot_root")
    folders = [(key, getattr(settings, key)) for key in keys]
    found = tuple([(path, files.real(path)) for path in secrets(settings, mirrors, files)])
    return Private(
        found,
        # One secret for each folder is enough to name, and each mirror is compared with all of them.
        tuple([(path, folder) for folder, path in {os.path.dirname(real): path for path, real in found}.items()]),
        tuple(map(files.real, own)),
        tuple(StateLayout(files.real(settings.state_dir)).beside_own()),
        tuple([(key, path, files.real(path)) for key, path in folders]),
        dict(known),
        {},
        files,
    )


def secrets(
    settings: RunnerSettings, mirrors: Sequence[Mirror] = (), files: FileView = file_view.MACHINE
) -> tuple[str, ...]:
    """Return the secret files that the settings and the definitions name, and the machine's own."""
    token = settings.manager.token if settings.manager else None
    passwords = [mirror.password.file for mirror in mirrors if mirror.password is not None]
    named = [token.file if token else None, *passwords, settings.policy, *credentials(files)]
    beside = os.path.join(os.path.dirname(settings.policy), "runner.yml")  # it may hold the repository's password
    return tuple(dict.fromkeys([path for path in (*named, beside) if path]))


def credentials(files: FileView = file_view.MACHINE) -> Iterator[str]:
    """Yield the folders with the credentials that systemd gives to units."""
    yield _CREDENTIALS
    if not files.is_here:
        return
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


def shared_folders(settings: RunnerSettings, policy: Policy) -> tuple[str, ...]:
    """Return the folders in which definitions place mirrors, logs and snapshots: upstreams can write to them."""
    roots = (settings.mirror_root, *policy.mirror_roots, settings.log_dir, *policy.log_roots, settings.snapshot_root)
    return tuple(dict.fromkeys(roots))


def worker_folders(settings: RunnerSettings, policy: Policy) -> tuple[str, ...]:
    """Return all folders that a worker and its syncs write to."""
    return (settings.state_dir, settings.run_dir, *shared_folders(settings, policy))


def why_no_pattern_folder(real: str, settings: RunnerSettings, policy: Policy, private: Private) -> str:
    """Return why files of a folder may not be sent to an upstream: it holds a secret, or could. Else empty.

    The folder is given by its real path, which is not resolved again: a run uses the same one.
    """
    files, homes = private.files, (account_home(),) if private.files.is_here else ()
    for path in (*private.paths, *homes, *SYSTEM):
        if is_within(files.real(path), real):
            return f"it holds {path}"
    for path in (*private.paths, *SYSTEM, *worker_folders(settings, policy)):
        if is_within(real, files.real(path)):
            return f"it lies in {path}"
    folders = (path for path in worker_folders(settings, policy) if is_within(files.real(path), real))
    return next((f"it holds {path}" for path in folders), "")


def is_secret(path: str, private: Sequence[str], files: FileView = file_view.MACHINE) -> bool:
    """Return whether a path is one of the private paths or lies in one, with all links followed."""
    return any(lies_in(path, each, files.real) for each in private)
