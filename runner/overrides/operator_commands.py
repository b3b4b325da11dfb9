"""Operator commands: `skipjack start`, `stop`, `restart`, `disable` and `enable`.

The journal keeps a start request until the run starts, and an override until it is lifted, across reboots. A tick acts
on them. Commands of the manager come through here as well.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from runner.base.output import finish_unread, head, say
from runner.base.state_dir import StateLayout
from runner.journal import journal, leftover_runs, rename_migration
from runner.journal.journal import Journal, Subject
from runner.overrides import hold, override_store
from runner.plan import plan
from runner.plan.plan import Plan, Planned
from runner.subprocesses import launch, stopping
from schemas import wakeup
from schemas.errors import SkipjackError
from schemas.problems import printable
from schemas.states import DISABLED, PAUSED
from schemas.user_names import name_of


class OperatorCommand(NamedTuple):
    """A command: its verb, its mirrors, who gave it, whether it may exceed slots and sync windows, and the reason."""

    verb: str
    names: Sequence[str]
    made_by: str
    force: bool = False
    reason: str = ""


class RunningMirrors(NamedTuple):
    """The mirrors of a command that have a run, and those among them that this worker no longer has."""

    running: list[str]
    removed: list[str]


_NAME = 64
"""Characters of a user name that are kept: `SUDO_USER` may be of any length."""

REASON = 500
"""Characters of the reason of a stop or a disable that are kept."""


def operator_name() -> str:
    """Return the name of the operator: the user behind sudo, or else the current user."""
    # Any user can set this variable, so it names the operator for people and grants nothing.
    name = os.environ.get("SUDO_USER")
    if name:
        return head(printable(name), _NAME)
    return name_of(os.getuid())


def execute_and_print(layout: StateLayout, command: OperatorCommand) -> None:
    """Execute a command and print its effect on each mirror; SkipjackError as `execute`."""
    finish_unread()  # the command must reach all mirrors, also if its output has no reader any more
    found = execute(layout, command)
    held = hold.holds(layout)
    for name in dict.fromkeys(command.names):
        removed = name in found.removed
        say(f"{name}: {_REMOVED if removed else _effect(command, is_running=name in found.running, held=held)}")


_REMOVED = "stopping its run; this worker no longer has this mirror"


def execute(
    layout: StateLayout,
    command: OperatorCommand,
    record: Callable[[Journal], None] | None = None,
    *,
    only_requested: bool = True,
) -> RunningMirrors:
    """Record a command, stop the runs that it ends, and wake a tick.

    With `only_requested` that tick starts only the mirrors that were requested by name. A stop and a disable also end
    the run of a mirror that this worker no longer has. `record` writes into the same transaction.

    SkipjackError if this worker does not have one of the mirrors; then nothing is done for the others either.
    """
    with plan.opened(layout.plan) as opened, journal.opened(layout.journal) as book:
        found = {name: opened.mirror(name) for name in command.names}
        run_dir = opened.header.run_dir
        with book.together():
            removed = _removed(opened, book, command, [name for name, planned in found.items() if planned is None])
            # a run that started under the previous name of its mirror keeps that name, so its command gets it too
            aliases = rename_migration.continue_history(book, opened.renamed(), time.time())
            subjects = [_subject(planned, aliases) for planned in found.values() if planned is not None]
            running = VERBS[command.verb](book, subjects, command) + removed
            override_store.end_removed(book, removed, _stopped(command), time.time())
            if record is not None:
                record(book)
    # After the transaction: a run that ends now must find the reason in the journal, or it counts as interrupted.
    if command.verb in _ENDING:
        stopping.stop(layout, running)
    wakeup.send(run_dir, wakeup.COURIER)
    launch.want_tick(layout, only_requested=only_requested)
    current = {previous: name for name, previous in aliases.items()}
    return RunningMirrors([current.get(name, name) for name in running], removed)


def _removed(opened: Plan, book: Journal, command: OperatorCommand, unknown: list[str]) -> list[str]:
    """Return the names that are not in the plan and whose runs the command ends; SkipjackError for any other name."""
    ends = unknown and command.verb in _OFF
    left = leftover_runs.find(opened, [each.mirror for each in book.active()]) if ends else []
    missing = [name for name in unknown if name not in left]
    if len(missing) == 1:
        raise opened.missing(missing[0])
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        what = f"this worker ({opened.header.worker}) has no mirror {names}."
        raise SkipjackError(what, "`skipjack next` lists its mirrors.")
    return unknown


def _stopped(command: OperatorCommand) -> str:
    return f"stopped by {command.made_by}" + (f": {command.reason}" if command.reason else "")


def _subject(planned: Planned, aliases: Mapping[str, str]) -> Subject:
    subject = Subject.of(planned)
    return subject._replace(name=aliases.get(subject.name, subject.name))


def _start(book: Journal, subjects: list[Subject], command: OperatorCommand) -> list[str]:
    return override_store.request(book, subjects, command.made_by, time.time(), force=command.force)


def _restart(book: Journal, subjects: list[Subject], command: OperatorCommand) -> list[str]:
    return override_store.request(book, subjects, command.made_by, time.time(), again=True)


def _stop(book: Journal, subjects: list[Subject], command: OperatorCommand) -> list[str]:
    return override_store.override(book, subjects, PAUSED, command.made_by, time.time(), reason=command.reason)


def _disable(book: Journal, subjects: list[Subject], command: OperatorCommand) -> list[str]:
    return override_store.override(book, subjects, DISABLED, command.made_by, time.time(), reason=command.reason)


def _enable(book: Journal, subjects: list[Subject], _command: OperatorCommand) -> list[str]:
    override_store.lift(book, subjects, time.time())
    return []


VERBS: dict[str, Callable[[Journal, list[Subject], OperatorCommand], list[str]]] = {
    "start": _start,
    "restart": _restart,
    "stop": _stop,
    "disable": _disable,
    "enable": _enable,
}
_OFF = ("stop", "disable")
_ENDING = (*_OFF, "restart")
STARTING = ("start", "restart")


def _effect(command: OperatorCommand, *, is_running: bool, held: bool) -> str:
    """Return what the command does to a mirror, for the person who typed it."""
    verb = command.verb
    if held and verb in STARTING and not (is_running and verb == "start"):
        return f"{'stopping its run; ' if is_running else ''}starts after `skipjack release`: this worker is held"
    if verb == "enable":
        return "follows its schedule" + (" after `skipjack release`: this worker is held" if held else "")
    if verb in _OFF:
        words = "paused until `skipjack start`" if verb == "stop" else "disabled until `skipjack enable`"
        return f"{words}; stopping its run" if is_running else words
    if not is_running:
        return "starts at once" if command.force else "starts as soon as its sync window and a slot allow"
    return "already syncing" if verb == "start" else "stopping its run, then starting it again"
