"""What is to be installed: for a worker or a manager, for whom, with which paths and programs."""

import ipaddress
import os
import pwd
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from runner.install.adoption import is_for_giving
from schemas.errors import SkipjackError
from schemas.records import ManagerSettings, Policy, RunnerSettings, Secret
from schemas.secrets import SOURCE, config_home, named

PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
"""The folder of our packages."""

_PROGRAM = (sys.prefix, sys.base_prefix, PACKAGES)
"""Where we are installed: the virtual environment, the Python below it, our packages."""

CONTAINERS = tuple(f"skipjack-{name}.service.d/containers.conf" for name in ("run@", "settle@", "tick"))
"""Drop-ins that let units start and end containers."""

WORKER, MANAGER = "worker", "manager"

TOKEN = "manager.token"  # noqa: S105 - the name of a key
"""The key of a worker's token."""

NO_SECRETS: Mapping[str, Secret] = MappingProxyType({})


class Setup(NamedTuple):
    """An installation, before anything is done.

    `user` is who the units run as; under a user's own service manager (`own`) that is whoever installs. `optional` are
    folders that runs may write to and that need not be there. `readable` is what the programs read and what a sandbox
    could hide. `secrets` are the programs' own, by the key that names each; `reports` says whether a worker has a
    manager, `has_passwords` whether there are credentials for mirrors. `containers` is the program that runs may start
    containers with, if they may. `foreign` are those of our own folders that are there and belong to another user.
    `listen` is where systemd can hold the manager's socket; empty when `listen` of the settings names a host, which it
    would not look up.
    """

    kind: str
    user: str
    own: bool
    settings: str
    state_dir: str
    run_dir: str
    log_dir: str = ""
    site_dir: str = ""
    mirror_root: str = ""
    optional: tuple[str, ...] = ()
    readable: tuple[str, ...] = ()
    secrets: Mapping[str, Secret] = NO_SECRETS
    reports: bool = False
    has_passwords: bool = False
    containers: str = ""
    foreign: tuple[str, ...] = ()
    listen: str = ""

    @property
    def units(self) -> str:
        """The folder of the units."""
        return os.path.join(config_home(), "systemd/user") if self.own else "/etc/systemd/system"

    @property
    def credentials(self) -> str:
        """The folder with the secrets that units are given."""
        return os.path.join(config_home(), "skipjack/credentials") if self.own else SOURCE

    @property
    def token(self) -> str:
        """The file with a worker's token; empty when that is a credential, or when there is none."""
        return self.secrets[TOKEN].file or "" if TOKEN in self.secrets else ""

    @property
    def passwords(self) -> str:
        """The folder with those that runs are given."""
        return os.path.join(self.credentials, "mirrors")

    @property
    def systemctl(self) -> tuple[str, ...]:
        """How to call the service manager."""
        return ("systemctl", "--user") if self.own else ("systemctl",)

    @property
    def launcher(self) -> str:
        """What the file that names the service manager says."""
        return "systemd --user" if self.own else "systemd"


def of_worker(
    settings: RunnerSettings, policy: Policy, path: str, user: str, *, own: bool, containers: bool | None
) -> Setup:
    """A worker's installation; with None for `containers` they may be started if they may be by now."""
    manager = settings.manager
    setup = Setup(
        WORKER, user, own, path, settings.state_dir, settings.run_dir, settings.log_dir,
        mirror_root=settings.mirror_root,
        optional=(settings.snapshot_root, *policy.mirror_roots, *policy.log_roots),
        readable=(path, settings.policy, *policy.pattern_files, *_PROGRAM),
        secrets={TOKEN: manager.token} if manager and manager.token else NO_SECRETS,
        reports=manager is not None,
    )  # fmt: skip
    if containers is None:
        containers = os.path.exists(os.path.join(setup.units, CONTAINERS[0]))
    return setup._replace(
        containers=settings.container_program if containers else "",
        has_passwords=_holds_any(setup.passwords),
        foreign=_foreign(setup),
    )


def _foreign(setup: Setup) -> tuple[str, ...]:
    """The folders of the programs' own that are there already and belong to another user."""
    if setup.own:
        return ()
    try:
        user = pwd.getpwnam(setup.user).pw_uid
    except KeyError:
        user = -1  # yet to be made, so nothing belongs to it
    ours = (setup.state_dir, setup.run_dir, setup.log_dir, setup.site_dir)
    others = [path for path in ours if path and os.path.isdir(path) and os.stat(path).st_uid != user]
    if setup.kind == MANAGER and is_for_giving(setup.state_dir):
        others = [path for path in others if path != setup.state_dir]
    return tuple(others)


def _holds_any(folder: str) -> bool:
    """Whether there is anything in a folder; if we may not look, as without root, then as if there were."""
    try:
        return bool(os.listdir(folder))
    except FileNotFoundError:
        return False
    except PermissionError:
        return True


def of_manager(settings: ManagerSettings, path: str, user: str, *, own: bool) -> Setup:
    """The manager's installation."""
    setup = Setup(
        MANAGER,
        user,
        own,
        path,
        settings.state_dir,
        settings.run_dir,
        site_dir=settings.site_dir,
        readable=(path, *_PROGRAM),
        listen=_numeric(settings.listen),
        secrets=dict(named(settings)) | ({"tls.key": Secret(file=settings.tls.key)} if settings.tls else {}),
    )
    return setup._replace(foreign=_foreign(setup))


def _numeric(listen: str) -> str:
    """An address and port, or nothing when a name stands in the place of the address."""
    host, _, port = listen.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return ""
    return f"{host}:{port}"


def default_settings(kind: str, *, own: bool) -> str:
    """Where the settings are when nobody says so."""
    name = "manager.yml" if kind == MANAGER else "runner.yml"
    return os.path.join(config_home() if own else "/etc", "skipjack", name)


def program(name: str) -> str:
    """The path of one of our commands, in the installation that is at work; its folder is not followed to others."""
    path = os.path.join(os.path.dirname(sys.executable), name)
    if not os.path.exists(path):
        raise SkipjackError(
            f"The command {path} is not there, so no unit can start it.",
            "Install Skipjack with pip into a virtual environment, such as /opt/skipjack, and run its `skipjack`.",
        )
    return path
