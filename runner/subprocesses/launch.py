"""Start the worker's programs from each other: as systemd units where `skipjack install` set them up, otherwise as
detached processes.

Under systemd a program is requested by a file that a path unit watches: no request is lost, even one that arrives while
the program runs, and no right is needed except to write the file.
"""

import contextlib
import os
from collections.abc import Mapping

from runner.base import locks, start_requests
from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.subprocesses import spawn
from schemas.failures import remedy
from schemas.mirror_record import Mirror
from schemas.regular_files import regular, replace_regular
from schemas.standard_streams import ERROR, WARNING

OF_SYSTEM = ("systemctl",)
"""The command for the system's service manager."""

SERVICE_MANAGER = "SKIPJACK_SERVICE_MANAGER"
"""The variable with which units name the service manager."""

_LAUNCHERS = {"systemd": OF_SYSTEM, "systemd --user": ("systemctl", "--user")}


def service_manager(layout: StateLayout) -> tuple[str, ...] | None:
    """Return the command for the service manager; None if runs are not units on this machine.

    `skipjack install` writes the file that names it.
    """
    try:
        with open(layout.launcher, encoding="ascii", errors="replace", opener=regular) as file:
            return _LAUNCHERS.get(file.read().strip())
    except FileNotFoundError:  # runs are started by cron or by hand; another OSError is a failure
        return None


def restore_service_manager(layout: StateLayout) -> None:
    """Write the file that names the service manager again if this is a unit and the file is lost.

    Without it runs would be processes of the unit that starts them, and end with it. OSError if it cannot be written.
    """
    name = os.environ.get(SERVICE_MANAGER, "")
    if name in _LAUNCHERS and os.path.isdir(layout.state_dir) and not os.path.lexists(layout.launcher):
        log(f"{layout.launcher} was lost; written again, so that runs are units", about="units", level=WARNING)
        replace_regular(layout.launcher, f"{name}\n")


def launch(layout: StateLayout, run_dir: str, runs: Mapping[str, int], mirrors: Mapping[str, Mirror]) -> dict[str, str]:
    """Start the launched runs, given by mirror and number; return by mirror why a run could not be started."""
    manager = service_manager(layout)
    if manager is not None:
        from runner.subprocesses import units  # loaded here, since a run starts no other runs

        # All in one call, since each call starts `systemctl`.
        failed = units.start(manager, run_dir, {name: mirrors[name] for name in runs}) if runs else {}
    else:
        failed = {name: reason for name, number in runs.items() if (reason := _detach_run(layout, name, number))}
    for name, reason in failed.items():
        log(f"cannot start its run: {reason}", about=name, level=ERROR)
    return failed


def _detach_run(layout: StateLayout, name: str, number: int) -> str:
    try:
        spawn.detach(spawn.lean("run", layout.state_dir, name, str(number)), layout.messages)
    except OSError as error:
        return f"cannot start a process: {error.strerror}. {remedy(error.errno)}".removesuffix(". ")
    return ""


def want_tick(layout: StateLayout, *, only_requested: bool = False) -> None:
    """Ensure that a tick starts after this moment; if it cannot be requested, the timer starts one within a minute.

    With `only_requested` that tick launches only mirrors that were requested by name.
    """
    if _is_about_to_begin(layout, only_requested=only_requested):
        return
    if only_requested:
        _want(layout, "start", "tick", "requested")
    else:
        _want(layout, "tick", "tick")


def is_tick_wanted(layout: StateLayout) -> bool:
    """Return whether another tick waits for the active one to end, or was requested since that one began."""
    return any(_is_about_to_begin(layout, only_requested=kind) for kind in (False, True)) or any(
        start_requests.is_open(layout, request) for request in ("tick", "start")
    )


def _is_about_to_begin(layout: StateLayout, *, only_requested: bool) -> bool:
    """Return whether such a tick already waits for the active one to end: it will see all changes up to then."""
    try:
        return locks.is_held(layout.next_tick(only_requested=only_requested))
    except OSError:  # then a tick is requested, which at worst is one too many
        return False


def want_measure(layout: StateLayout, name: str) -> None:
    """Start to measure the mirror in the background."""
    _want(layout, f"measure/{name}", "measure", name)


def want_follow(layout: StateLayout, settings: str, *, start: bool) -> None:
    """Start a follow with a settings file; OSError if it cannot be requested.

    Without `start` it only plans; the systemd unit also wakes a tick.
    """
    if start and service_manager(layout) is not None:
        start_requests.leave(layout, "follow")
        return
    words = ("follow", "--start") if start else ("follow",)
    spawn.detach(spawn.command(*words, "--settings", settings), layout.messages)


def _want(layout: StateLayout, request: str, program: str, *words: str) -> None:
    with contextlib.suppress(OSError):  # a run must end in any case, and the timer starts the next tick anyway
        if service_manager(layout) is None:
            spawn.detach(spawn.lean(program, layout.state_dir, *words), layout.messages)
        else:
            start_requests.leave(layout, request)
