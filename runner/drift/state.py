"""What do the journal, the state directory and the service manager have of mirrors that are gone?"""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime

from runner.base.state_dir import StateLayout
from runner.drift.items import CONTAINER, OVERRIDE, STATE, UNIT, Leftover
from runner.drift.known import Defined
from runner.journal import leftover_runs
from runner.journal.journal import Journal
from runner.plan.schedule import OperatorRequest, State
from runner.subprocesses import launch, spawn, units
from schemas.names import is_name
from schemas.problems import shown
from schemas.records import RunnerSettings

LOCKS = ("supervisor", "mirror", "measure")
"""The kinds of lock files that have the name of a mirror."""

OLD_OVERRIDE = 7 * 86400
"""Seconds after which an override is shown."""

_LINE = re.compile(r"skipjack-run@([A-Za-z0-9][A-Za-z0-9._-]{0,63})\.service\s+\S+\s+(\S+)")


def states(settings: RunnerSettings, known: Defined, book: Journal) -> Iterator[Leftover]:
    """Yield the mirrors that are gone of which the journal or the state directory has something."""
    found, asked = book.states(), book.operator_requests()
    active = {each.mirror for each in book.active()}
    files = files_of_mirrors(settings)
    for name in sorted((found.keys() | asked.keys() | files.keys()) - known.names):
        kept = " ".join(leftover_runs.problem(name)) if name in active else known.unsure
        state, paths = found.get(name), files.get(name, ())
        yield Leftover(STATE, name, "", _identity(state, paths), _what(state, asked.get(name), len(paths)), kept)


def files_of_mirrors(settings: RunnerSettings) -> dict[str, tuple[str, ...]]:
    """Return the lock files of mirrors, and the files with the limits of their units, by mirror."""
    layout = StateLayout(settings.state_dir)
    folders = [*(os.path.join(layout.locks, kind) for kind in LOCKS), os.path.join(settings.run_dir, "limits")]
    found: dict[str, list[str]] = {}
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:  # no run has needed it yet
            continue
        for name in filter(is_name, names):
            found.setdefault(name, []).append(os.path.join(folder, name))
    return {name: tuple(paths) for name, paths in found.items()}


def _identity(state: State | None, files: tuple[str, ...]) -> str:
    return f"{None if state is None else (state.status, state.last_ended_at)} {' '.join(files)}"


def _what(state: State | None, request: OperatorRequest | None, files: int) -> str:
    parts = []
    if state is not None:
        parts.append(f"its state and history in the journal, {state.status}")
    if request is not None:
        parts.append(f"what an operator asked for ({request.override or 'start'})")
    if files:
        parts.append("a lock file" if files == 1 else f"{files} files for locks and limits")
    return ", ".join(parts)


def overrides(known: Defined, book: Journal, now: float) -> Iterator[Leftover]:
    """Yield the mirrors that an operator has paused or disabled for longer than a week."""
    for name, asked in sorted(book.operator_requests().items()):
        if asked.override and name in known.names and now - asked.made_at > OLD_OVERRIDE:
            since = datetime.fromtimestamp(asked.made_at, UTC).strftime("%Y-%m-%d")
            why = f": {shown(asked.reason)}" if asked.reason else ""
            what = f"{asked.override} since {since} by {shown(asked.made_by)}{why}"
            yield Leftover(OVERRIDE, name, "", "", what, f"`skipjack enable {name}` ends it; or remove the definition.")


def containers(settings: RunnerSettings, known: Defined) -> Iterator[Leftover]:
    """Yield the mirrors that are gone and may have a container."""
    layout = StateLayout(settings.state_dir)
    for name in sorted(filter(is_name, layout.containers_left())):
        if name not in known.names:
            path = os.path.join(layout.containers, name)
            yield Leftover(CONTAINER, name, path, "", "may have a container", "The next `skipjack tick` removes it.")


def left_units(settings: RunnerSettings, known: Defined) -> Iterator[Leftover]:
    """Yield the units of mirrors that are gone. CannotStart or TooSlow if the service manager does not answer."""
    manager = launch.service_manager(StateLayout(settings.state_dir))
    if manager is None:
        return
    words = (*manager, "list-units", "--all", "--plain", "--no-legend", "skipjack-run@*.service")
    _code, said = spawn.ask(words, units.PATIENCE)
    for name, status in sorted(_LINE.findall(said)):
        if name not in known.names:
            unit = units.unit(name)
            todo = f"`{' '.join(manager)} {'stop' if status == 'active' else 'reset-failed'} {unit}` removes it."
            yield Leftover(UNIT, name, "", "", f"the unit {unit} is {status}", todo)
