"""Containers that outlived their runs: the worker's side of what `runner/hooks/container.py` does."""

import contextlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence

from runner.base import environment
from runner.base.output import log, note
from runner.base.state_dir import StateLayout
from runner.subprocesses import spawn, units
from schemas.standard_streams import WARNING

_OF_SESSIONS = "/run/user/"
_FOR_PODMAN = "/tmp/podman-run-{}"  # noqa: S108 - where podman itself looks without a session; see `runtime_folder`


def runtime_folder(layout: StateLayout) -> dict[str, str]:
    """The variable that keeps a podman without root from a login session's folder; empty where that folder is right.

    podman writes the folder of its first use into its database, for ever. A session's is gone when the session ends,
    and is never there in units of the system. Units of the user's own service manager live where its sessions do.
    """
    user, given = os.geteuid(), os.environ.get("XDG_RUNTIME_DIR", "")
    if user == 0 or (given and not given.startswith(_OF_SESSIONS)) or "--user" in (units.service_manager(layout) or ()):
        return {}
    folder = _FOR_PODMAN.format(user)
    with contextlib.suppress(OSError):
        os.mkdir(folder, 0o700)
    with contextlib.suppress(OSError):
        found = os.lstat(folder)
        if stat.S_ISDIR(found.st_mode) and found.st_uid == user and stat.S_IMODE(found.st_mode) == 0o700:
            return {"XDG_RUNTIME_DIR": folder}
    return {}  # it cannot be made, or is somebody else's; podman looks for another place by itself


def ask(argv: Sequence[str], timeout: float, more: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a short program of the system, as hooks do: its exit code and what it said, or CannotRun.

    `more` is added to its environment.
    """
    try:
        return spawn.ask(argv, timeout, more)
    except spawn.CannotStart as error:
        from runner.plugin_api import CannotRun  # a tick loads this module and hardly ever gets here

        raise CannotRun(str(error)) from error


def asker(state_dir: str, home: str, roots: Sequence[str]) -> Callable[[Sequence[str], float], tuple[int, str]]:
    """What asks container programs in the environment that a run gives them, so that all find the same store."""

    def ask_there(argv: Sequence[str], timeout: float) -> tuple[int, str]:
        more = {"PATH": environment.search_path(roots), "HOME": home}
        return ask(argv, timeout, more | (runtime_folder(StateLayout(state_dir)) if is_podman(argv[0]) else {}))

    return ask_there


def is_podman(program: str) -> bool:
    """Whether a container program is podman, by its name."""
    return os.path.basename(program) == "podman"


def _home(layout: StateLayout) -> str:
    """The home that runs give to their programs, as the plan has it."""
    from runner.plan import plan
    from schemas.errors import SkipjackError

    with contextlib.suppress(SkipjackError), plan.opened(layout.plan) as opened:
        return opened.header.home or layout.home
    return os.path.expanduser("~")


def end(layout: StateLayout, name: str) -> bool:
    """Remove the container that a mirror may have, as one who holds its supervisor's lock; tells whether it is gone."""
    from runner.hooks import container_end

    marker = os.path.join(layout.containers, name)
    found = container_end.read_marker(marker)
    if found is not None:
        program, container = found
        note(f"removes the container {container} of a run that is gone", about=name)
        if reason := container_end.remove(program, container, asker(layout.state_dir, _home(layout), ())):
            what = f"it may still be there: {reason}. If you know that it is not, remove {marker}"
            log(what, about=name, level=WARNING)
            return False
    container_end.remove_marker(marker)
    return True
