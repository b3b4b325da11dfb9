"""Commands of the manager: they are fetched, stored in the journal, executed as operator commands, and answered.

The transaction that records an operator command also records that the manager's command is done. So each is executed
once, whenever the courier dies. The runs that it stops are looked up in the journal again when the next courier starts.
"""

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from runner.base.output import head, log
from runner.base.state_dir import StateLayout
from runner.courier.client import ManagerClient, NoCommands, Rejected
from runner.journal import journal, rejected_reports
from runner.journal.command_table import CommandResult, CommandTable, ManagerCommand
from runner.journal.journal import Journal
from runner.overrides import hold, operator_commands
from runner.plan import plan
from runner.subprocesses import launch, stopping
from schemas import VERSION
from schemas.errors import SkipjackError
from schemas.standard_streams import ERROR, WARNING

DONE, REFUSED = "done", "refused"
RELOAD, PING = "reload", "ping"
_WAITS = "recorded; it starts after `skipjack release`, since this worker is held"

RELOADS, RELOADS_IN = 10, 300.0
"""Follows at most, and in how many seconds, that start because of `reload` or a webhook: a manager that gives them
without end must not keep the machine and the server of the repository busy. People give fewer, and their follow starts
at once."""

REASON = 4000
"""Characters of a reason that the manager accepts."""


class WorkerContext(NamedTuple):
    """The worker that commands are for: its name, the layout of its state directory, and its settings file.

    With `start` a command may also start everything that is due, as units and cron lines want it; else only the mirrors
    that it names. `quiet` logs only errors and warnings, since cron mails all output.
    """

    worker: str
    layout: StateLayout
    settings: str
    start: bool = False
    quiet: bool = False


class ReloadLimit:
    """When commands and webhooks of this program started follows; `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: deque[float] = deque(maxlen=RELOADS)

    def take(self) -> bool:
        """Return whether another follow may start now, which then counts as begun."""
        now = self._clock()
        if len(self._begun) == RELOADS and now - self._begun[0] < RELOADS_IN:
            return False
        self._begun.append(now)
        return True


class WakeNumber:
    """The manager's wake number as this program last got it, 0 before. A webhook changes it: then a follow is due."""

    def __init__(self) -> None:
        self.number = 0
        self.is_due = False

    def see(self, number: int | None) -> bool:
        """Note the manager's number, None if it has none; return whether it is another one."""
        if number is None or number == self.number:
            return False
        # The first one says nothing about what happened since; the manager names a newer revision anyway.
        self.is_due = self.is_due or self.number != 0
        self.number = number
        return True


def resume(here: WorkerContext) -> None:
    """Stop the runs that a command ends, again: the courier that executed it may have died before it signalled them."""
    with journal.opened(here.layout.journal) as book:
        stopping.stop(here.layout, book.runs_to_stop())


def fetch_and_execute(
    here: WorkerContext,
    client: ManagerClient,
    wait: float,
    reloads: ReloadLimit | None = None,
    wake: WakeNumber | None = None,
) -> int | None:
    """Fetch commands, execute and answer them; return how many were new, None from a manager without commands.

    While there are none the manager may hold the request for `wait` seconds. A program that calls this again and again
    has a limit, `reloads`, and with `wake` also follows after a webhook, which counts as a command. SkipjackError when
    the manager cannot be reached.
    """
    limit = reloads or ReloadLimit()
    with journal.opened(here.layout.journal) as book:
        inbox = CommandTable(book)
        try:
            _finish(here, inbox, client, limit)
            taken = inbox.taken()
            found = client.commands(here.worker, taken, wait, wake.number if wake else None)
            is_woken = wake is not None and wake.see(found.wake)
            if not inbox.take(found):
                what = "the manager has lost some earlier commands; its numbers start again"
                log(what, about="courier", level=WARNING)
            _finish(here, inbox, client, limit)
        except NoCommands:
            return None
    if wake is not None:
        _follow_if_woken(here, wake, limit)
    return sum(command.number > taken for command in found.commands) + is_woken


def _follow_if_woken(here: WorkerContext, wake: WakeNumber, limit: ReloadLimit) -> None:
    """Start the follow that a webhook made due. Beyond the limit it waits for a later call."""
    if wake.is_due and limit.take():
        want_follow(here)
        wake.is_due = False
        _log_unless_quiet(here, "the manager got a webhook: starting a follow")


def _finish(here: WorkerContext, inbox: CommandTable, client: ManagerClient, limit: ReloadLimit) -> None:
    """Execute the waiting commands, and send their results. A `reload` beyond the limit waits for a later call."""
    waiting = inbox.waiting()
    reloads = [command for command in waiting if command.kind == RELOAD]
    for command in waiting:
        if command in reloads[:-1]:  # the last one is enough
            inbox.close(CommandResult(command.number, DONE, ""))
        elif command.kind != RELOAD or limit.take():
            _execute(here, inbox, command)
    results = inbox.results()
    if results:
        _answer(here, inbox, client, results)


def _answer(here: WorkerContext, inbox: CommandTable, client: ManagerClient, results: list[CommandResult]) -> None:
    """Send results. If the manager rejects them, send each alone, then without its reason: else the worker would get no
    further commands. A result is given up when the manager accepts a request without any."""
    try:
        client.answer(here.worker, results)
    except Rejected as error:
        half = len(results) // 2
        if half:
            _answer(here, inbox, client, results[:half])
            _answer(here, inbox, client, results[half:])
            return
        try:
            client.answer(here.worker, [results[0]._replace(reason="")])
        except Rejected:
            client.answer(here.worker, [])
            what = f"the result of command {results[0].number}, which was given up"
            rejected_reports.add(here.layout, what, error.what, time.time())
            log(f"the manager rejects {what}: {error.what}", about="courier", level=ERROR)
    inbox.forget(results)


def _execute(here: WorkerContext, inbox: CommandTable, command: ManagerCommand) -> None:
    about = f"{command.kind} {', '.join(command.mirrors)}".strip()
    try:
        _KINDS.get(command.kind, _unknown)(here, inbox, command)
    except SkipjackError as error:
        inbox.close(CommandResult(command.number, REFUSED, head(str(error), REASON)))
        log(f"refused {about}, requested by {command.issued_by}: {error}", about="courier", level=WARNING)
    else:
        _log_unless_quiet(here, f"executed {about}, requested by {command.issued_by}")


def _log_unless_quiet(here: WorkerContext, text: str) -> None:
    if not here.quiet:
        log(text, about="courier")


def _operator_command(here: WorkerContext, _inbox: CommandTable, command: ManagerCommand) -> None:
    if not command.mirrors:
        raise SkipjackError("the command names no mirror.", "Name the mirrors that it is for.")
    made_by = f"{head(' '.join(command.issued_by.split()), 64)} through the manager"
    order = operator_commands.OperatorCommand(command.kind, command.mirrors, made_by, command.force, command.note)
    waits = command.kind in operator_commands.STARTING and hold.holds(here.layout)
    done = partial(_record, CommandResult(command.number, DONE, _WAITS if waits else ""))
    operator_commands.execute(here.layout, order, done, only_requested=not here.start)


def _record(result: CommandResult, book: Journal) -> None:
    CommandTable(book).close(result)


def _reload(here: WorkerContext, inbox: CommandTable, command: ManagerCommand) -> None:
    want_follow(here)
    inbox.close(CommandResult(command.number, DONE, ""))


def _ping(_here: WorkerContext, inbox: CommandTable, command: ManagerCommand) -> None:
    inbox.close(CommandResult(command.number, DONE, ""))


def _unknown(_here: WorkerContext, _inbox: CommandTable, command: ManagerCommand) -> None:
    what = f"unknown command `{command.kind[:64]}` in this worker's release {VERSION}."
    raise SkipjackError(what, "Upgrade the worker.")


_KINDS = {**dict.fromkeys(operator_commands.VERBS, _operator_command), RELOAD: _reload, PING: _ping}


def follow_if_behind(here: WorkerContext, revision: str | None) -> bool:
    """Start a follow when the manager names another revision than the worker's, once for each; return whether it did.

    If the manager is behind the worker, that one follow finds nothing new.
    """
    if revision is None or revision == _seen(here.layout):
        return False
    with journal.opened(here.layout.journal) as book:
        if not CommandTable(book).is_new(revision):
            return False
    _log_unless_quiet(here, f"the manager is at revision {revision[:12]}: starting a follow")
    want_follow(here)
    return True


def _seen(layout: StateLayout) -> str | None:
    """Return the newest revision that a follow has read here."""
    try:
        with plan.opened(layout.plan) as opened:
            return opened.header.seen
    except SkipjackError:  # there is no plan yet
        return None


def want_follow(here: WorkerContext) -> None:
    """Start a follow; SkipjackError when it cannot be requested."""
    try:
        launch.want_follow(here.layout, here.settings, start=here.start)
    except OSError as error:
        what = f"cannot start a follow: {error.strerror}."
        raise SkipjackError(what, "Check whether the disk is full. The next follow starts by itself.") from error
