"""How a container is ended: by its name, and by the *marker* file that says which one a mirror may have.

The hook uses this, and so does whoever settles a run that was killed.
"""

import contextlib
import os
import re
import time

from runner.plugin_api import Ask, CannotRun
from schemas.regular_files import regular

PATIENCE = 20.0
"""Seconds that the removal of a container may take."""

_ALL_KILLED = "could not find any running process|cannot re-exec process to join the existing user namespace"
"""What a podman without root says that has containers on its list and none of their processes: all were killed."""

_UNREACHABLE = (
    (r"cannot connect to|daemon running|connection refused", "start the daemon, as with `systemctl start docker`"),
    (r"connect: permission denied|trying to connect", "let the worker's user use the daemon"),
    (r"cannot re-exec process(?! to join)", "let the units start containers: run `skipjack install --containers`"),
    (r"program \S+ was not found", "install it, or correct `container_program` in this machine's settings"),
)
"""What a container program says that can do nothing at all, and what to do about it."""

_OF_A_SESSION = re.compile(r"/run/user/\d+\b.*(?:permission denied|not writable|no such file)", re.I)
"""What podman says when its database names the folder of a login session, which ended, or which units cannot see."""

_DATABASES = ("storage/libpod/bolt_state.db", "storage/db.sql")
"""podman's database of containers, by its age, in the worker's `~/.local/share/containers`; images are elsewhere."""

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
    """Remove the container of that name with all its processes; gives why it may still be there, or nothing.

    It is asked for again until PATIENCE ends, since somebody else may be at it: the client, or the daemon by itself.
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
        told = _with(_UNREACHABLE, reason)
        if told != reason or time.monotonic() > deadline:
            return told
        _put_right(program, said, ask)
        time.sleep(0.2)


def _put_right(program: str, said: str, ask: Ask) -> None:
    if re.search(_ALL_KILLED, said):
        with contextlib.suppress(CannotRun):
            ask((program, "system", "migrate"), PATIENCE)


def with_remedy(reason: str) -> str:
    """Add what to do about something that a container program said, where that is known."""
    return _with(_REMEDIES, reason)


def _with(remedies: tuple[tuple[str, str], ...], reason: str) -> str:
    if _OF_A_SESSION.search(reason):
        return f"{reason}; {_without_session()}"
    todo = next((todo for pattern, todo in remedies if re.search(pattern, reason, re.I)), "")
    if reason.endswith("?"):  # as docker says it: "Is the docker daemon running?"
        return f"{reason} {todo[0].upper()}{todo[1:]}" if todo else reason
    return f"{reason}; {todo}" if todo else reason


def _without_session() -> str:
    """What to do about a database that names a session's folder: podman makes a new one, and finds all images again."""
    folder = os.path.join(os.path.expanduser("~"), ".local/share/containers")
    paths = [os.path.join(folder, name) for name in _DATABASES]
    path = next(filter(os.path.exists, paths), paths[0])
    return (
        "its database was made in a login session of the worker's user and names a folder of that session; while no"
        f" mirror runs, remove {path} (images stay), and from then on use `skipjack container load`"
    )


def write_marker(path: str, program: str, name: str) -> None:
    """Say which container there may be from now on."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    aside = os.path.join(os.path.dirname(path), f".{name}.new")
    with open(aside, "w", encoding="utf-8", opener=regular) as file:
        file.write(f"{program}\n{name}\n")
    os.replace(aside, path)


def read_marker(path: str) -> tuple[str, str] | None:
    """The container program and the container's name; None without a marker, or when the machine's end cut it short."""
    try:
        with open(path, encoding="utf-8", opener=regular) as file:
            program, name, _end = file.read().split("\n")
    except (FileNotFoundError, ValueError):
        return None
    return program, name


def remove_marker(path: str) -> None:
    """Say that there is none any more."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _last_line(said: str) -> str:
    from schemas.addresses import without_secrets  # few runs have such a line

    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return without_secrets(lines[-1].rstrip("."))[:300] if lines else "it failed without a message"
