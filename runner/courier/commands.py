"""Commands of the manager: fetched, written into the journal, carried out as a person's orders are, and answered.

The journal's transaction that records an order also records that its command is done. So whenever the courier dies,
each is carried out once; what an order ends is looked up in the journal again when the next courier begins.
"""

import time
from functools import partial
from typing import NamedTuple

from runner.base.output import head, log
from runner.base.state_dir import StateLayout
from runner.courier.client import Client, Command, NoCommands, Rejected, Result
from runner.courier.manager_commands import Inbox
from runner.journal import journal, rejected_reports
from runner.journal.journal import Journal
from runner.overrides import hold, operator_commands, override_store
from runner.plan import plan
from runner.subprocesses import launch, stopping
from schemas import VERSION
from schemas.errors import SkipjackError
from schemas.standard_streams import ERROR, WARNING

DONE, REFUSED = "done", "refused"
RELOAD, PING = "reload", "ping"
_WAITS = "recorded; it starts after `skipjack release`, since this worker is held"

REASON = 4000
"""Characters of a reason that a manager takes."""


class Here(NamedTuple):
    """The worker that commands are for: its name, its state directory, and the file with its settings.

    `start` says that whatever is due may be started as well, as units and cron lines want it; else a command starts no
    mirror but those that it names. `quiet` is for cron, which mails whatever is said: only what is wrong is told.
    """

    worker: str
    layout: StateLayout
    settings: str
    start: bool = False
    quiet: bool = False


def resume(here: Here) -> None:
    """Do what a courier that died may have left undone: runs that an order ends are told so (again)."""
    with override_store.opened(here.layout.journal) as book:
        stopping.stop(here.layout, book.runs_to_stop())


def attend(here: Here, client: Client, wait: float) -> int | None:
    """Fetch commands, carry them out and answer; gives how many were new, None from a manager that gives none at all.

    While there are none the manager may take `wait` seconds. SkipjackError when it cannot be reached.
    """
    with journal.opened(here.layout.journal) as book:
        inbox = Inbox(book)
        try:
            _finish(here, inbox, client)
            taken = inbox.taken()
            found = client.commands(here.worker, taken, wait)
            if not inbox.take(found):
                what = "the manager does not know some earlier commands; its numbers begin again"
                log(what, about="courier", level=WARNING)
            _finish(here, inbox, client)
        except NoCommands:
            return None
    return sum(command.number > taken for command in found.commands)


def _finish(here: Here, inbox: Inbox, client: Client) -> None:
    """Carry out what waits, and tell what became of it."""
    waiting = inbox.waiting()
    reloads = [command for command in waiting if command.kind == RELOAD]
    for command in waiting:
        if command in reloads[:-1]:  # the last one does it for all
            inbox.close(Result(command.number, DONE, ""))
        else:
            _carry_out(here, inbox, command)
    results = inbox.results()
    if results:
        _answer(here, inbox, client, results)


def _answer(here: Here, inbox: Inbox, client: Client, results: list[Result]) -> None:
    """Tell results, if the manager rejects one of them each alone and without its words; else it would be given no
    command any more. A result is given up when it takes an answer without any."""
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


def _carry_out(here: Here, inbox: Inbox, command: Command) -> None:
    about = f"{command.kind} {', '.join(command.mirrors)}".strip()
    try:
        _KINDS.get(command.kind, _unknown)(here, inbox, command)
    except SkipjackError as error:
        inbox.close(Result(command.number, REFUSED, head(str(error), REASON)))
        log(f"{command.issued_by} wanted {about}, which is refused: {error}", about="courier", level=WARNING)
    else:
        _tell(here, f"{command.issued_by} wanted {about}")


def _tell(here: Here, text: str) -> None:
    if not here.quiet:
        log(text, about="courier")


def _order(here: Here, _inbox: Inbox, command: Command) -> None:
    if not command.mirrors:
        raise SkipjackError("The command names no mirror.", "Name those that it is for.")
    made_by = f"{head(' '.join(command.issued_by.split()), 64)} through the manager"
    order = operator_commands.OperatorCommand(command.kind, command.mirrors, made_by, command.force, command.note)
    waits = command.kind in operator_commands.STARTING and hold.holds(here.layout)
    done = partial(_record, Result(command.number, DONE, _WAITS if waits else ""))
    operator_commands.execute(here.layout, order, done, only_requested=not here.start)


def _record(result: Result, book: Journal) -> None:
    Inbox(book).close(result)


def _reload(here: Here, inbox: Inbox, command: Command) -> None:
    want_follow(here)
    inbox.close(Result(command.number, DONE, ""))


def _ping(_here: Here, inbox: Inbox, command: Command) -> None:
    inbox.close(Result(command.number, DONE, ""))


def _unknown(_here: Here, _inbox: Inbox, command: Command) -> None:
    what = f"This worker's release, {VERSION}, knows no command `{command.kind[:64]}`."
    raise SkipjackError(what, "Update the worker.")


_KINDS = {**dict.fromkeys(operator_commands.VERBS, _order), RELOAD: _reload, PING: _ping}


def heed(here: Here, revision: str | None) -> bool:
    """Begin a follow when the manager names a revision that is none of ours, once for each that it names; True then.

    It may as well be the manager that is behind; then one follow finds nothing new.
    """
    if revision is None or revision == _seen(here.layout):
        return False
    with journal.opened(here.layout.journal) as book:
        if not Inbox(book).is_new(revision):
            return False
    _tell(here, f"the manager is at revision {revision[:12]}, so a follow begins")
    want_follow(here)
    return True


def _seen(layout: StateLayout) -> str | None:
    """The newest revision that was looked at here."""
    try:
        with plan.opened(layout.plan) as opened:
            return opened.header.seen
    except SkipjackError:  # there is no plan yet
        return None


def want_follow(here: Here) -> None:
    """See to it that a follow begins; SkipjackError when it cannot be asked for."""
    try:
        launch.want_follow(here.layout, here.settings, start=here.start)
    except OSError as error:
        what = f"No follow can be started: {error.strerror}."
        raise SkipjackError(what, "See whether the disk is full; the next one comes by itself.") from error
