"""Are the units healthy that start our programs? Failed ones are started again; those that stay down are recorded.

A failed timer or path unit stays so until it is started, and so does a path unit that could not start at boot because
the disk of the state directory was not mounted. A path unit that started before its disk was mounted watches the folder
below it. Each program that a timer starts can revive the others: `follow` checks each time, ticks and couriers only if
the last check is old. The courier reports what a check recorded.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from runner.base import start_requests
from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.subprocesses import launch, units
from runner.subprocesses.spawn import STOPS
from schemas.regular_files import regular, replace_regular
from schemas.standard_streams import WARNING

STARTERS = (
    "skipjack-follow.timer", "skipjack-follow.path", "skipjack-tick.timer", "skipjack-tick.path",
    "skipjack-measure.path", "skipjack-courier.timer",
)  # fmt: skip
SERVICES = ("skipjack-follow.service", "skipjack-tick.service", "skipjack-measure.service", "skipjack-courier.service")
_REQUESTS = {
    "skipjack-follow.path": ("follow",),
    "skipjack-tick.path": ("tick", "start"),
    "skipjack-measure.path": ("measure",),
}
"""The start requests that each path unit watches."""

UNSEEN = 60.0
"""Seconds after which a start request counts as not seen if the service that it requests does not run."""

_OPTIONAL = ("skipjack-courier.timer", "skipjack-courier.service")
"""Units that a worker without a manager does not have."""

_OWN_CODES = 200
"""The lowest of systemd's own exit codes, for programs that could not be started."""

_STOPS = {str(int(number)) for number in STOPS}
"""Signals with which an operator or a shutdown ends a program: not a failure."""


class Dead(NamedTuple):
    """A unit that does not work, why, and what to do."""

    unit: str
    what: str
    todo: str


def check(layout: StateLayout) -> list[Dead]:
    """Start failed units again, record those that stay down, and return them; none where runs are not units."""
    manager = launch.service_manager(layout)
    if manager is None:
        with contextlib.suppress(OSError):
            os.unlink(layout.units)  # otherwise its age would make ticks check again and again
        return []
    # One call for all units: each starts `systemctl`.
    shown = _shown(manager)
    failed = {name: f"had failed ({found.get('Result')})" for name, found in shown.items() if _has_failed(name, found)}
    left = {name: "had not started at boot" for name, found in shown.items() if _never_started(name, found)}
    deaf = dict.fromkeys(_deaf(layout, shown), "had not seen its start requests")
    _revive(manager, "start", failed | left)
    _revive(manager, "try-restart", deaf)
    dead = _judge(layout, _shown(manager) if failed or left or deaf else shown)
    _remember(layout, dead)
    return dead


def _revive(manager: tuple[str, ...], verb: str, found: dict[str, str]) -> None:
    """Start units again, which are given with the reason, and log it."""
    refusal = units.revive(manager, verb, found) if found else ""
    for name, reason in found.items():
        log(f"{name} {reason}; {refusal or 'started again'}", about="units", level=WARNING)


def look(layout: StateLayout) -> list[Dead]:
    """Return the units that do not work now; changes nothing."""
    manager = launch.service_manager(layout)
    return _judge(layout, _shown(manager)) if manager is not None else []


def remembered(layout: StateLayout) -> list[Dead]:
    """Return the units that stayed down at the last check."""
    try:
        with open(layout.units, encoding="utf-8", opener=regular) as file:
            return [Dead(*line.split("\t")) for line in file.read().splitlines() if line.count("\t") == 2]
    except (OSError, UnicodeDecodeError):  # never checked, or damaged: the next check writes it again
        return []


def _shown(manager: tuple[str, ...]) -> dict[str, dict[str, str]]:
    properties = (
        "Id,LoadState,UnitFileState,ActiveState,Result,ExecMainStatus,Job,ConditionTimestampMonotonic,"
        "InactiveEnterTimestampMonotonic"
    )
    return {block["Id"]: block for block in units.show(manager, properties, STARTERS + SERVICES) if "Id" in block}


def _has_failed(name: str, found: dict[str, str]) -> bool:
    return name in STARTERS and found.get("ActiveState") == "failed"


def _never_started(name: str, found: dict[str, str]) -> bool:
    """Return whether systemd should have started a unit at boot and could not, as without the disk that it requires.

    A unit that an operator stopped or disabled is not one: it was active, or is not enabled.
    """
    state = tuple(found.get(key) for key in ("LoadState", "UnitFileState", "ActiveState"))
    times = tuple(found.get(key) for key in ("ConditionTimestampMonotonic", "InactiveEnterTimestampMonotonic"))
    is_due = found.get("Job", "0") not in ("", "0")
    return name in STARTERS and state == ("loaded", "enabled", "inactive") and times == ("0", "0") and not is_due


def _deaf(layout: StateLayout, shown: dict[str, dict[str, str]]) -> list[str]:
    """Return the active path units that do not see their requests, as after a disk was mounted on the folder."""
    states = {name: found.get("ActiveState") for name, found in shown.items()}
    if _unwritable(layout):
        return []  # a request that cannot be removed stays although it was seen
    return [
        name
        for name, watched in _REQUESTS.items()
        if states.get(name) == "active"
        # An active service takes its request, and a failed one that is tried again is not inactive.
        and states.get(name.replace(".path", ".service")) in ("inactive", "failed")
        and any(start_requests.age(layout, request, time.time()) > UNSEEN for request in watched)
    ]


def _judge(layout: StateLayout, shown: dict[str, dict[str, str]]) -> list[Dead]:
    if not shown:
        return [Dead("systemd", "The service manager does not answer about the units.", "See `systemctl status`.")]
    deaf = (
        Dead(name, "It does not see its start requests.", f"Restart it: `systemctl restart {name}`.")
        for name in _deaf(layout, shown)
    )
    return [*_verdicts(shown), *_unwritable(layout), *deaf]


def _unwritable(layout: StateLayout) -> list[Dead]:
    """Return the folders of start requests that the worker may not change: none can be made, and none taken.

    Other users may not change them either, which says nothing about the worker.
    """
    folders = [layout.start_request(name).rstrip("/") for name in ("", "measure")]
    closed = [path for path in folders if os.path.isdir(path) and not os.access(path, os.W_OK | os.X_OK)]
    if not closed or os.geteuid() not in (0, os.stat(layout.state_dir).st_uid):
        return []
    todo = "Give it to the worker's user, and check whether its disk is read-only (`dmesg`)."
    return [
        Dead("start requests", f"The folder {path} cannot be written, so they are delayed.", todo) for path in closed
    ]


def _verdicts(shown: dict[str, dict[str, str]]) -> Iterator[Dead]:
    return (dead for name in STARTERS + SERVICES if (dead := _verdict(name, shown.get(name, {}))) is not None)


def _verdict(name: str, found: dict[str, str]) -> Dead | None:
    state, load, result = found.get("ActiveState", ""), found.get("LoadState", ""), found.get("Result", "")
    if load != "loaded":
        todo = "Run `skipjack install` again, as root."
        return None if name in _OPTIONAL and load == "not-found" else Dead(name, f"It is {load or 'missing'}.", todo)
    if name in STARTERS:
        if state == "failed":
            return Dead(name, f"It has failed ({result}).", f"Start it again: `systemctl start {name}`.")
        if _never_started(name, found):
            return Dead(name, "It could not start at boot.", f"Start it: `systemctl start {name}`.")
        todo = f"Unless you stopped it on purpose, run `systemctl start {name}`."
        return None if state == "active" else Dead(name, "It is stopped, so it starts nothing.", todo)
    status = found.get("ExecMainStatus", "")
    has_run = result == "exit-code" and status.isdigit() and int(status) < _OWN_CODES
    if result in ("", "success") or has_run or (result == "signal" and status in _STOPS):
        return None
    todo = units.where_to_look(status, name)
    return Dead(name, f"It cannot run: {units.cause(result, status)}.", f"{todo[0].upper()}{todo[1:]}.")


def _remember(layout: StateLayout, dead: list[Dead]) -> None:
    """Replace the file, whose modification time is that of the check; losing it only delays a report."""
    with contextlib.suppress(OSError):
        lines = ("\t".join(" ".join(word.split()) for word in each) + "\n" for each in dead)
        replace_regular(layout.units, "".join(lines))
