"""The files of an installation, rendered from the templates in `templates/`."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import Template

from runner.base.secret_files import HOMES
from runner.base.state_dir import StateLayout
from runner.install.setup import CONTAINERS, MANAGER, Setup, program
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

_TAKE = 'rm -f -- "$0" || sleep 60'
"""Removes a start request, and pauses if that fails."""

_NEEDS_SOCKET = "Requires=skipjack-manager.socket\nAfter=skipjack-manager.socket"

RULE = "/etc/polkit-1/rules.d/50-skipjack.rules"


def files(setup: Setup) -> dict[str, str]:
    """Return the texts of all files of an installation by path, except that of `sysusers`."""
    values = _values(setup)
    names = _SOCKET * bool(setup.listen) + _MANAGER if setup.kind == MANAGER else _WORKER + _COURIER * setup.reports
    found = {os.path.join(setup.units, name): _filled(name, values) for name in names}
    if setup.containers:
        text = _filled("containers.conf", values)
        found |= {os.path.join(setup.units, name): text for name in CONTAINERS}
    if setup.kind != MANAGER and not setup.own:
        found[RULE] = _filled(os.path.basename(RULE), values)
    return found


def obsolete(setup: Setup) -> list[str]:
    """Return paths of files that installations of this kind can have, but this one has not."""
    ours = (*_SOCKET, *_MANAGER) if setup.kind == MANAGER else (*_WORKER, *_COURIER, *CONTAINERS)
    rule = [] if setup.kind == MANAGER or setup.own else [RULE]
    wanted = files(setup)
    return [path for path in [*(os.path.join(setup.units, name) for name in ours), *rule] if path not in wanted]


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


def _values(setup: Setup) -> Mapping[str, str]:
    own = [*_folders(setup)]
    site = [*own, *_writable([setup.site_dir])] if setup.site_dir else own
    mirrors = [*own, *_writable([setup.mirror_root]), *_writable(setup.optional, "-")]
    settings = ("--settings", setup.settings)
    return {
        "user": setup.user,
        "identity": "" if setup.own else f"User={setup.user}",
        # A user's service manager has none of the system's targets.
        "wanted_by": "default.target" if setup.own else "multi-user.target",
        "online": "" if setup.own else "Wants=network-online.target\nAfter=network-online.target",
        "private_users": "" if setup.own else "PrivateUsers=yes",
        "no_network": "" if setup.own else "PrivateNetwork=yes\nIPAddressDeny=any",
        "mounts": "" if setup.own else f"RequiresMountsFor={_quoted(setup.mirror_root)}",
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
