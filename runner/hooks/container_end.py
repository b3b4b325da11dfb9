"""Remove a mirror's container by its name; the *marker* file records that a mirror may have one.

Used by the hook, and by the recovery of crashed runs.
"""

import contextlib
import os
import re
import time

from runner.plugin_api import Ask, CannotRun
from schemas.regular_files import regular, replace_regular

PATIENCE = 20.0
"""Seconds that the removal of a container may take; a container gets two seconds of them between TERM and KILL."""

_ALL_KILLED = "could not find any running process|cannot re-exec process to join the existing user namespace"
"""Messages of a rootless podman whose database lists containers although all its processes were killed."""

_UNREACHABLE = (
    (r"cannot connect to|daemon running|connection refused", "start the daemon, as with `systemctl start docker`"),
    (r"connect: permission denied|trying to connect", "let the worker's user use the daemon"),
    (r"cannot re-exec process(?! to join)", "let the units start containers: run `skipjack install --containers`"),
    (r"program \S+ was not found", "install it, or correct `container_program` in this machine's settings"),
)
"""Messages of a container program that cannot work at all, and what to do."""

_OF_A_SESSION = re.compile(r"/run/user/\d+\b.*(?:permission denied|not writable|no such file)", re.I)
"""Messages of podman if its database names the folder of a login session that has ended or that units cannot see."""

_DATABASES = ("storage/libpod/bolt_state.db", "storage/db.sql")
"""podman's databases of containers, older format first, below `~/.local/share/containers`; images are elsewhere."""

_REMEDIES = (
    *_UNREACHABLE,
    (r"no such image|image not known|unable to find image|manifest unknown|access denied|invalid reference|short-name",
     "load the image with `skipjack container load FILE`, or correct `docker_image`"),
    (r"already in use", "see whose container has that name, and remove it"),
    (r"not found|no such file", "add it to the image, or correct `command`"),
    (r"insufficient (?:uids|gids)|newuidmap|newgidmap|no subuid ranges",
     "give the worker's user ranges of numbers in /etc/subuid and /etc/subgid, as docs/containers.md shows"),
    (r"permission denied", "set its run bit in the image, or correct `command`"),
)  # fmt: skip


def remove(program: str, name: str, ask: Ask) -> str:
    """Remove the container of that name with all its processes; return why it may still exist, empty if it is gone.

    Tried again for `PATIENCE` seconds, since the client or the daemon may be removing it at the same time.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            code, said = ask((program, "rm", "--force", "--volumes", name), max(1.0, deadline - time.monotonic()))
        except CannotRun as error:
            return _with(_UNREACHABLE, str(error))
        if code == 0 or "no such container" in said.lower():
            return ""
        reason = f"{program} rm: {_last_line(said)}"
        message = _with(_UNREACHABLE, reason)
        if message != reason or time.monotonic() > deadline:  # a known remedy means that another try cannot help
            return message
        _recover_podman(program, said, ask)
        time.sleep(0.2)  # each try starts a program


def _recover_podman(program: str, said: str, ask: Ask) -> None:
    """Run `podman system migrate`, which updates the database after all processes of a user's podman were killed."""
    if re.search(_ALL_KILLED, said):
        with contextlib.suppress(CannotRun):  # the next removal fails then, and its reason is returned
            ask((program, "system", "migrate"), PATIENCE)


def with_remedy(reason: str) -> str:
    """Add what to do to a message of a container program, if that is known."""
    return _with(_REMEDIES, reason)


def _with(remedies: tuple[tuple[str, str], ...], reason: str) -> str:
    if _OF_A_SESSION.search(reason):
        return f"{reason}; {_without_session()}"
    todo = next((todo for pattern, todo in remedies if re.search(pattern, reason, re.I)), "")
    if reason.endswith("?"):  # docker asks: "Is the docker daemon running?"
        return f"{reason} {todo[0].upper()}{todo[1:]}" if todo else reason
    return f"{reason}; {todo}" if todo else reason


def _without_session() -> str:
    """Return what to do about a database that names a session's folder: podman creates a new one and keeps images."""
    folder = os.path.join(os.path.expanduser("~"), ".local/share/containers")
    paths = [os.path.join(folder, name) for name in _DATABASES]
    path = next(filter(os.path.exists, paths), paths[0])
    return (
        "its database was made in a login session of the worker's user and names a folder of that session; while no"
        f" mirror runs, remove {path} (images stay), and from then on use `skipjack container load`"
    )


def write_marker(path: str, program: str, name: str) -> None:
    """Record that a mirror may have this container from now on.

    Not synced to disk: after a crash of the machine no container runs.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    aside = os.path.join(os.path.dirname(path), f".{name}.new")
    replace_regular(path, f"{program}\n{name}\n", aside)


def read_marker(path: str) -> tuple[str, str] | None:
    """Return the container program and the container's name; None without a marker, or for one that is incomplete."""
    try:
        with open(path, encoding="utf-8", opener=regular) as file:
            program, name, _end = file.read().split("\n")
    except (FileNotFoundError, ValueError):
        return None
    return program, name


def remove_marker(path: str) -> None:
    """Record that a mirror has no container any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _last_line(said: str) -> str:
    from schemas.addresses import without_secrets  # loaded here, since few runs have such a line

    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return without_secrets(lines[-1].rstrip("."))[:300] if lines else "it failed without a message"
