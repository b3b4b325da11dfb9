"""Run podman or docker for the worker, and remove containers that outlived their runs.

`runner/hooks/container.py` starts the containers.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence

from runner.base import environment
from runner.base.output import log, note
from runner.base.state_dir import StateLayout
from runner.subprocesses import launch, spawn
from schemas.standard_streams import WARNING

_OF_SESSIONS = "/run/user/"
_FOR_PODMAN = "/tmp/podman-run-{}"  # noqa: S108 - where podman itself looks without a session; see `runtime_folder`


def runtime_folder(layout: StateLayout) -> dict[str, str]:
    """Return the variable that keeps rootless podman out of a login session's folder; empty where that is right.

    podman records the folder of its first use in its database for ever. A session's folder is gone when the session
    ends, and does not exist for system units. Units of the user's own service manager share it with the sessions.
    """
    user, given = os.geteuid(), os.environ.get("XDG_RUNTIME_DIR", "")
    if (
        user == 0
        or (given and not given.startswith(_OF_SESSIONS))
        or "--user" in (launch.service_manager(layout) or ())
    ):
        return {}
    folder = _FOR_PODMAN.format(user)
    with contextlib.suppress(OSError):  # it exists already, or the check below fails
        os.mkdir(folder, 0o700)
    with contextlib.suppress(OSError):
        # Every user can write to /tmp: another one may have created the folder, or a link in its place.
        found = os.lstat(folder)
        if stat.S_ISDIR(found.st_mode) and found.st_uid == user and stat.S_IMODE(found.st_mode) == 0o700:
            return {"XDG_RUNTIME_DIR": folder}
    return {}  # it cannot be created or belongs to another user; podman chooses another folder by itself


def ask(argv: Sequence[str], timeout: float, more: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a short system command for a hook; return its exit code and output, or raise CannotRun.

    `more` is added to its environment.
    """
    try:
        return spawn.ask(argv, timeout, more)
    except spawn.CannotStart as error:
        from runner.plugin_api import CannotRun  # every tick loads this module and hardly ever gets here

        raise CannotRun(str(error)) from error


def asker(state_dir: str, home: str, roots: Sequence[str]) -> Callable[[Sequence[str], float], tuple[int, str]]:
    """Return a function like `ask` that uses a run's environment, so that all programs use the same image store."""

    def ask_there(argv: Sequence[str], timeout: float) -> tuple[int, str]:
        more = {"PATH": environment.search_path(roots), "HOME": home}
        return ask(argv, timeout, more | (runtime_folder(StateLayout(state_dir)) if is_podman(argv[0]) else {}))

    return ask_there


def is_podman(program: str) -> bool:
    """Return whether a container program is podman, by its name."""
    return os.path.basename(program) == "podman"


def _home(layout: StateLayout) -> str:
    """Return the home that runs give to their programs, from the plan."""
    from runner.plan import plan  # loaded here, since few ticks have a container to remove
    from schemas.errors import SkipjackError

    with contextlib.suppress(SkipjackError), plan.opened(layout.plan) as opened:
        return opened.header.home or layout.home
    return os.path.expanduser("~")


def end(layout: StateLayout, name: str) -> bool:
    """Remove the container that a mirror may have; return whether it is gone. The caller holds the supervisor lock."""
    from runner.hooks import container_end  # loaded here for the same reason

    marker = os.path.join(layout.containers, name)
    found = container_end.read_marker(marker)
    if found is not None:
        program, container = found
        note(f"removing the container {container} of a run that has died", about=name)
        if reason := container_end.remove(program, container, asker(layout.state_dir, _home(layout), ())):
            what = f"cannot remove the container {container}: {reason}. If it does not exist any more, remove {marker}"
            log(what, about=name, level=WARNING)
            return False
    container_end.remove_marker(marker)
    return True
