"""The description of an installation: of a worker or a manager, for which user, with which paths and programs."""

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
"""The folder that holds our packages."""

_PROGRAM = (sys.prefix, sys.base_prefix, PACKAGES)
"""Where Skipjack is installed: the virtual environment, its Python, our packages."""

CONTAINERS = tuple(f"skipjack-{name}.service.d/containers.conf" for name in ("run@", "settle@", "tick"))
"""Drop-ins that let units start and stop containers."""

WORKER, MANAGER = "worker", "manager"

TOKEN = "manager.token"  # noqa: S105 - the name of a key
"""The key of the worker's token."""

NO_SECRETS: Mapping[str, Secret] = MappingProxyType({})


class Setup(NamedTuple):
    """An installation as it should be.

    The units run as `user`; with `own`, as units of that user's systemd instance. `optional` are folders that runs may
    write to and that may be missing. `readable` are paths that the programs read and a sandbox could hide. `secrets`
    are those of the programs, by their keys in the settings. `reports`: the worker has a manager. `has_passwords`:
    there are credentials for mirrors. `containers` is the program that starts containers, empty if runs may not start
    any. `foreign` are our own folders that exist and belong to another user. `listen` is the address and port of the
    manager's socket, empty if the settings name a host, which systemd does not look up.
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
        """Return the folder for units."""
        return os.path.join(config_home(), "systemd/user") if self.own else "/etc/systemd/system"

    @property
    def credentials(self) -> str:
        """Return the folder with the secrets that systemd passes to units."""
        return os.path.join(config_home(), "skipjack/credentials") if self.own else SOURCE

    @property
    def token(self) -> str:
        """Return the file with the worker's token; empty if the token is a credential or there is none."""
        return self.secrets[TOKEN].file or "" if TOKEN in self.secrets else ""

    @property
    def passwords(self) -> str:
        """Return the folder with the secrets that systemd passes to runs."""
        return os.path.join(self.credentials, "mirrors")

    @property
    def systemctl(self) -> tuple[str, ...]:
        """Return the command that controls the service manager."""
        return ("systemctl", "--user") if self.own else ("systemctl",)

    @property
    def launcher(self) -> str:
        """Return the name of the service manager, as its file in the state directory has it."""
        return "systemd --user" if self.own else "systemd"


def of_worker(
    settings: RunnerSettings, policy: Policy, path: str, user: str, *, own: bool, containers: bool | None
) -> Setup:
    """Return a worker's installation; None for `containers` keeps what the last installation allowed."""
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
    """Return the programs' own folders that exist and belong to another user."""
    if setup.own:
        return ()
    try:
        user = pwd.getpwnam(setup.user).pw_uid
    except KeyError:
        user = -1  # not created yet, so it owns nothing
    own = (setup.state_dir, setup.run_dir, setup.log_dir, setup.site_dir)
    others = [path for path in own if path and os.path.isdir(path) and os.stat(path).st_uid != user]
    if setup.kind == MANAGER and is_for_giving(setup.state_dir):
        others = [path for path in others if path != setup.state_dir]
    return tuple(others)


def _holds_any(folder: str) -> bool:
    """Return whether a folder has entries; True if this user may not list it, as without root."""
    try:
        return bool(os.listdir(folder))
    except FileNotFoundError:
        return False
    except PermissionError:
        return True


def of_manager(settings: ManagerSettings, path: str, user: str, *, own: bool) -> Setup:
    """Return the manager's installation."""
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
    """Return an address and port; empty for a host name and port."""
    host, _, port = listen.rpartition(":")
    # systemd looks up no host name, and this one is known.
    host = "127.0.0.1" if host == "localhost" else host
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:  # a host name
        return ""
    return f"{host}:{port}"


def default_settings(kind: str, *, own: bool) -> str:
    """Return the default path of the settings."""
    name = "manager.yml" if kind == MANAGER else "runner.yml"
    return os.path.join(config_home() if own else "/etc", "skipjack", name)


def program(name: str) -> str:
    """Return the path of one of our commands in this installation, without following the folder's link."""
    path = os.path.join(os.path.dirname(sys.executable), name)
    if not os.path.exists(path):
        raise SkipjackError(
            f"the command {path} does not exist, so no unit can start it.",
            "Install Skipjack with pip into a virtual environment, such as /opt/skipjack, and run its `skipjack`.",
        )
    return path
