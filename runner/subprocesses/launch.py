"""How the worker's programs start each other: as units of systemd where `skipjack install` made them, and otherwise as
processes of their own that outlive whoever started them.

Under systemd a program that is wanted is asked for by a file, at which a path unit looks: no request is lost, even one
that comes while the program is at work, and nobody needs any right but to write the file.
"""

import contextlib
from collections.abc import Mapping

from runner.base import locks, start_requests
from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.subprocesses import spawn, units
from schemas.mirror_record import Mirror
from schemas.standard_streams import ERROR


def launch(layout: StateLayout, run_dir: str, runs: Mapping[str, int], mirrors: Mapping[str, Mirror]) -> dict[str, str]:
    """Start a run for each mirror, announced under its number; gives the reason for each that could not be started."""
    manager = units.service_manager(layout)
    if manager is not None:
        failed = units.start(manager, run_dir, {name: mirrors[name] for name in runs}) if runs else {}
    else:
        failed = {name: reason for name, number in runs.items() if (reason := _detach_run(layout, name, number))}
    for name, reason in failed.items():
        log(f"its run cannot be started: {reason}", about=name, level=ERROR)
    return failed


def _detach_run(layout: StateLayout, name: str, number: int) -> str:
    try:
        spawn.detach(spawn.lean("run", layout.state_dir, name, str(number)), layout.messages)
    except OSError as error:
        return f"no process can be started: {error.strerror}"
    return ""


def want_tick(layout: StateLayout, *, only_requested: bool = False) -> None:
    """See to it that a tick begins from now on; what cannot be asked for is left to the next minute's timer.

    With `only_requested` that tick starts no mirror that nobody asked for by name.
    """
    if _is_about_to_begin(layout, only_requested=only_requested):
        return
    if only_requested:
        _want(layout, "start", "tick", "requested")
    else:
        _want(layout, "tick", "tick")


def _is_about_to_begin(layout: StateLayout, *, only_requested: bool) -> bool:
    """Whether such a tick waits for the one at work: it looks at everything after that."""
    try:
        return locks.is_held(layout.next_tick(only_requested=only_requested))
    except OSError:
        return False


def want_measure(layout: StateLayout, name: str) -> None:
    """See to it that the mirror is measured in the background."""
    _want(layout, f"measure/{name}", "measure", name)


def want_follow(layout: StateLayout, settings: str, *, start: bool) -> None:
    """See to it that a follow begins from now on, with the settings in a file; OSError when it cannot be asked for.

    Without `start` it only plans; the unit of systemd starts what is due as well.
    """
    if start and units.service_manager(layout) is not None:
        start_requests.leave(layout, "follow")
        return
    words = ("follow", "--start") if start else ("follow",)
    spawn.detach(spawn.command(*words, "--settings", settings), layout.messages)


def _want(layout: StateLayout, request: str, program: str, *words: str) -> None:
    with contextlib.suppress(OSError):
        if units.service_manager(layout) is None:
            spawn.detach(spawn.lean(program, layout.state_dir, *words), layout.messages)
        else:
            start_requests.leave(layout, request)
