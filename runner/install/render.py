"""The files of an installation, rendered from the templates in `templates/`."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from string import Template

from runner.base.secret_files import HOMES
from runner.base.state_dir import StateLayout
from runner.install.setup import CONTAINERS, MANAGER, WORKER, Setup, program
from runner.subprocesses.spawn import lean
from schemas.errors import SkipjackError

_TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")
_PLAIN = re.compile(r"[A-Za-z0-9_/.,:=@+-]+")
_VALUE = re.compile(r"\$\{(\w+)\}")

_COURIER = ("skipjack-courier.service", "skipjack-courier.timer")
_WORKER = (
    "skipjack.slice", "skipjack-follow.service", "skipjack-follow.timer", "skipjack-follow.path",
    "skipjack-tick.service", "skipjack-tick.timer", "skipjack-tick.path",
    "skipjack-measure.service", "skipjack-measure.path", "skipjack-run@.service", "skipjack-settle@.service",
)  # fmt: skip
_MANAGER = ("skipjack-manager.service", "skipjack-publish.service")
_SOCKET = ("skipjack-manager.socket",)
_DISKS = {
    kind: (f"{prefix}-mounted.service", f"{prefix}-disks.target", f"{prefix}-disks.timer")
    for kind, prefix in ((WORKER, "skipjack"), (MANAGER, "skipjack-manager"))
}
"""Units that bring everything back with a lost disk. No service manager of a user can mount or unmount one."""

_TAKE = 'rm -f -- "$0" || sleep 60'
"""Removes a start request, and pauses if that fails."""

_START = 'for unit; do systemctl --quiet is-enabled "$unit" && systemctl --no-block start "$unit"; done; true'
"""Starts units, except those that an operator disabled."""

_NEEDS_SOCKET = "Requires=skipjack-manager.socket\nAfter=skipjack-manager.socket"

_LONGEST = 255
"""The longest name of a unit."""

_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108
"""Folders that a unit with `PrivateTmp=` needs."""

_EARLY = """# By default all services of the machine would wait at boot for the disk that this unit waits for.
DefaultDependencies=no
Requires=sysinit.target
After=sysinit.target
Conflicts=shutdown.target
Before=shutdown.target"""

RULE = "/etc/polkit-1/rules.d/50-skipjack.rules"


def files(setup: Setup) -> dict[str, str]:
    """Return the texts of all files of an installation by path, except that of `sysusers`."""
    names = _SOCKET * bool(setup.listen) + _MANAGER if setup.kind == MANAGER else _WORKER + _COURIER * setup.reports
    names += _DISKS[setup.kind] * (not setup.own)
    values = _values(setup, [name for name in names if is_started(name)])
    found = {os.path.join(setup.units, name): _filled(name, values) for name in names}
    if setup.containers:
        text = _filled("containers.conf", values)
        found |= {os.path.join(setup.units, name): text for name in CONTAINERS}
    if setup.kind != MANAGER and not setup.own:
        found[RULE] = _filled(os.path.basename(RULE), values)
    return found


def is_started(name: str) -> bool:
    """Return whether an installation starts a unit; other units are started by these."""
    return name.endswith((".timer", ".path", ".socket", ".target")) or name in _MANAGER


def obsolete(setup: Setup) -> list[str]:
    """Return paths of files that installations of this kind can have, but this one has not."""
    ours = (*_SOCKET, *_MANAGER) if setup.kind == MANAGER else (*_WORKER, *_COURIER, *CONTAINERS)
    rule = [] if setup.kind == MANAGER or setup.own else [RULE]
    wanted = files(setup)
    names = (*ours, *_DISKS[setup.kind])
    return [path for path in [*(os.path.join(setup.units, name) for name in names), *rule] if path not in wanted]


def everything(setup: Setup) -> list[str]:
    """Return paths of all files that an installation of this kind can have."""
    return [*files(setup), *obsolete(setup)]


def folders(setup: Setup) -> Iterator[str]:
    """Yield the folders that units write to."""
    paths = (setup.state_dir, setup.run_dir, setup.log_dir, setup.site_dir, setup.mirror_root, *setup.optional)
    yield from (path for path in paths if path)


def sysusers(setup: Setup) -> tuple[str, str]:
    """Return the path and text of the file from which systemd-sysusers creates the user."""
    return f"/etc/sysusers.d/{setup.user}.conf", _filled("skipjack.sysusers", _values(setup))


def _values(setup: Setup, started: Sequence[str] = ()) -> Mapping[str, str]:
    own = [*_folders(setup)]
    site = [*own, *_writable([setup.site_dir])] if setup.site_dir else own
    mirrors = [*own, *_writable([setup.mirror_root]), *_writable(setup.optional, "-")]
    settings = ("--settings", setup.settings)
    own_disks = [setup.state_dir, setup.run_dir, setup.log_dir]
    # The manager's services, which no timer starts, also require the mount units of `PrivateTmp=`.
    disks = [*own_disks, setup.site_dir, *_TEMPORARY] if setup.kind == MANAGER else own_disks
    mounts = _mount_units(path for path in disks if path and not path.startswith("/run/"))
    return {
        "user": setup.user,
        "identity": "" if setup.own else f"User={setup.user}",
        # A user's service manager has none of the system's targets.
        "wanted_by": "default.target" if setup.own else "multi-user.target",
        "online": "" if setup.own else "Wants=network-online.target\nAfter=network-online.target",
        "private_users": "" if setup.own else "PrivateUsers=yes",
        "no_network": "" if setup.own else "PrivateNetwork=yes\nIPAddressDeny=any",
        "mounts": "" if setup.own else _requires(own_disks),
        "mirror_mounts": "" if setup.own else _requires([*own_disks, setup.mirror_root]),
        "site_mounts": "" if setup.own else _requires([*own_disks, setup.site_dir]),
        "early": "" if setup.own else _EARLY,
        "wanted_by_mounts": f"WantedBy={' '.join(mounts)}",
        "start_again": _command(["/bin/sh", "-c", _START, "sh", *started]),
        "state_dir": _quoted(setup.state_dir),
        "start_requests": _literal(StateLayout(setup.state_dir).start_requests),
        "launcher": setup.launcher,
        "tick": _command(lean("tick", setup.state_dir)),
        "measure": _command(lean("measure", setup.state_dir)),
        "run": _command(lean("run", setup.state_dir)),
        "settle": _command(lean("settle", setup.state_dir)),
        "follow": _command([program("skipjack"), "follow", "--start", *settings]),
        "take_follow": _command(["/bin/sh", "-c", _TAKE, StateLayout(setup.state_dir).start_request("follow")]),
        "courier": _command([program("skipjack"), "courier", "--linger", "--start", *settings]),
        "serve": _command([program("skipjack-manager"), "serve", *settings]),
        "publish": _command([program("skipjack-manager"), "publish", *settings]),
        "listen": setup.listen,
        "socket": _NEEDS_SOCKET if setup.listen else "",
        "folders": "\n".join(own),
        "site_folders": "\n".join(site),
        "mirror_folders": "\n".join(mirrors),
        "keep_out": f"InaccessiblePaths=-{_quoted(setup.token)}" if setup.token and not setup.own else "",
        "credentials": "\n".join(_own_credentials(setup)),
        # Only if there are any: starting 100 units at once takes 17 s with credentials, 3 s without.
        "mirror_credentials": _credential(setup, "mirror", "mirrors") if setup.has_passwords else "",
        "container_access": _containers(setup),
        "sandbox": _sandbox(setup),
    }


def _sandbox(setup: Setup) -> str:
    """Return the sandbox of all units; homes are hidden, except for the folders that are needed."""
    if setup.own:
        return _filled("sandbox-user", {}).rstrip("\n")
    lines = [f"BindPaths=-{_quoted(path)}" for path in folders(setup) if path.startswith(HOMES)]
    lines += [f"BindReadOnlyPaths=-{_quoted(path)}" for path in setup.readable if path.startswith(HOMES)]
    return _filled("sandbox", {}) + "\n".join(["ProtectHome=tmpfs" if lines else "ProtectHome=yes", *lines])


def _containers(setup: Setup) -> str:
    return _filled(f"containers-{os.path.basename(setup.containers)}", {}) if setup.containers else ""


def _folders(setup: Setup) -> Iterator[str]:
    """Yield the folders that all units write to. systemd creates those below its own folders.

    One that belongs to another user is only made writable: systemd would give it and its contents to our user.
    """
    if setup.own:
        return
    kinds = (("Runtime", "/run/", setup.run_dir), ("State", "/var/lib/", setup.state_dir))
    for kind, place, path in (*kinds, ("Logs", "/var/log/", setup.log_dir)):
        if path.startswith(place) and path not in setup.foreign:
            yield f"{kind}Directory={_quoted(path.removeprefix(place))}"
        elif path:
            yield from _writable([path])
    if setup.run_dir.startswith("/run/") and setup.run_dir not in setup.foreign:
        yield "RuntimeDirectoryPreserve=yes"  # several units share it


def _writable(paths: Iterable[str], prefix: str = "") -> Iterator[str]:
    yield from (f"ReadWritePaths={_quoted(prefix + path)}" for path in paths if path)


def _requires(paths: Iterable[str]) -> str:
    """Return the line by which a unit needs the mount units of these folders."""
    return f"RequiresMountsFor={' '.join(_quoted(path) for path in paths if path)}"


def _mount_units(paths: Iterable[str]) -> list[str]:
    """Return the mount units that `RequiresMountsFor=` means: those of all folders above, whether they exist or not.

    One that does not exist has no effect, and a folder may get a disk of its own later.
    """
    above = {folder for path in map(PurePosixPath, paths) for folder in (path, *path.parents) if folder.name}
    return [name for name in sorted(map(_mount_unit, above)) if len(name) <= _LONGEST]


def _mount_unit(folder: PurePosixPath) -> str:
    """Return the name of a folder's mount unit, as `systemd-escape --path --suffix=mount` does."""
    name = os.fsencode(folder).strip(b"/")
    escaped = re.sub(rb"[^A-Za-z0-9:_./]|^\.", lambda found: b"\\x%02x" % ord(found[0]), name)
    return f"{escaped.replace(b'/', b'-').decode('ascii')}.mount"


def _own_credentials(setup: Setup) -> Iterator[str]:
    names = [secret.credential for secret in setup.secrets.values() if secret.credential]
    yield from (_credential(setup, name, name) for name in dict.fromkeys(names))


def _credential(setup: Setup, name: str, file: str) -> str:
    return f"LoadCredential={name}:{_literal(os.path.join(setup.credentials, file))}"


def _command(words: Sequence[str]) -> str:
    # systemd replaces `$NAME` in a command line by a variable.
    return " ".join(_quoted(word.replace("$", "$$")) for word in words)


def _quoted(text: str) -> str:
    """Return a word as systemd reads it in a list."""
    literal = _literal(text)
    if _PLAIN.fullmatch(literal):
        return literal
    return '"' + literal.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _literal(text: str) -> str:
    """Return a word as systemd reads it where it stands alone."""
    if not text.isprintable():
        raise SkipjackError(
            f"the path {text!r} cannot be written into a unit.", "Choose one without control characters."
        )
    return text.replace("%", "%%")  # systemd replaces specifiers such as `%n`


def _filled(name: str, values: Mapping[str, str]) -> str:
    """Return a template with its values; a line that is only a value is left out if that is empty."""
    with open(os.path.join(_TEMPLATES, os.path.basename(name)), encoding="utf-8") as file:
        lines = file.read().splitlines()
    kept = (line for line in lines if not (found := _VALUE.fullmatch(line)) or values[found[1]])
    return Template("\n".join(kept)).substitute(values) + "\n"
