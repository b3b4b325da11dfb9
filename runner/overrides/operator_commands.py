"""`skipjack start`, `stop`, `disable`, `restart`, `enable`: what a person wants of mirrors, on the worker itself.

The journal keeps it until it is done or taken back; a tick acts on it, now and after every reboot.
"""

import os
import pwd
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from runner.base import wakeup
from runner.base.output import finish_unread, head, say
from runner.base.state_dir import StateLayout
from runner.journal import leftover_runs, rename_migration
from runner.journal.journal import Journal, Subject
from runner.overrides import hold, override_store
from runner.overrides.override_store import OrderBook
from runner.plan import plan
from runner.plan.plan import Plan, Planned
from runner.subprocesses import launch, stopping
from schemas.errors import SkipjackError
from schemas.problems import printable
from schemas.states import DISABLED, PAUSED


class Order(NamedTuple):
    """An order to the worker: its verb, the mirrors, who gave it, whether it goes beyond the slots, and what for."""

    verb: str
    names: Sequence[str]
    made_by: str
    force: bool = False
    reason: str = ""


class Done(NamedTuple):
    """The mirrors of an order that have a run under way, and those of them that this worker no longer has."""

    begun: list[str]
    left: list[str]


_NAME = 64
"""Characters of a name that are kept; the environment may hold anything."""

REASON = 500
"""Characters of the reason of a stop or a disable."""


def who() -> str:
    """The person who gives orders: the one behind sudo, or the user."""
    name = os.environ.get("SUDO_USER")
    if name:
        return head(printable(name), _NAME)
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def give(layout: StateLayout, order: Order) -> None:
    """Carry out an order and say what that means for each mirror; as `carry_out` when it cannot be done."""
    finish_unread()
    done = carry_out(layout, order)
    held = hold.holds(layout)
    for name in dict.fromkeys(order.names):
        told = _ENDED_FOR_GOOD if name in done.left else _told(order, at_work=name in done.begun, held=held)
        say(f"{name}: {told}")


_ENDED_FOR_GOOD = "its run is being ended; this worker no longer has it"


def carry_out(
    layout: StateLayout, order: Order, record: Callable[[Journal], None] | None = None, *, only_requested: bool = True
) -> Done:
    """Record an order, stop the runs that it ends, and see to it that a tick acts on it.

    A mirror whose run began under a former name has that name until the run has ended, and so has what is recorded.
    With `only_requested` that tick starts no other mirrors than those that somebody asked for. A stop and a disable
    also end a run under way of a mirror that this worker no longer has; there is nothing to pause then.

    `record` adds something to the very transaction that records the order. SkipjackError when this worker does not
    have one of the mirrors; then nothing was done for the others either.
    """
    with plan.opened(layout.plan) as opened, override_store.opened(layout.journal) as book:
        found = {name: opened.mirror(name) for name in order.names}
        run_dir = opened.header.run_dir
        with book.together():
            left = _left(opened, book, order, [name for name, planned in found.items() if planned is None])
            aliases = rename_migration.continue_history(book, opened.renamed(), time.time())
            subjects = [_subject(planned, aliases) for planned in found.values() if planned is not None]
            begun = VERBS[order.verb](book, subjects, order) + left
            book.end_for_good(left, _stopped(order), time.time())
            if record is not None:
                record(book)
    if order.verb in _ENDING:
        stopping.stop(layout, begun)
    wakeup.wake_courier(run_dir)
    launch.want_tick(layout, only_requested=only_requested)
    now = {former: name for name, former in aliases.items()}
    return Done([now.get(name, name) for name in begun], left)


def _left(opened: Plan, book: Journal, order: Order, unknown: list[str]) -> list[str]:
    """The names that are not in the plan, when the order ends their runs; SkipjackError for any other such name."""
    left = leftover_runs.find(opened, [each.mirror for each in book.active()]) if unknown and order.verb in _OFF else []
    missing = ", ".join(f"`{name}`" for name in unknown if name not in left)
    if missing:
        what = f"This worker ({opened.header.worker}) has no mirror {missing}."
        raise SkipjackError(what, "`skipjack next` lists those it has.")
    return unknown


def _stopped(order: Order) -> str:
    return f"stopped by {order.made_by}" + (f": {order.reason}" if order.reason else "")


def _subject(planned: Planned, aliases: Mapping[str, str]) -> Subject:
    subject = Subject.of(planned)
    return subject._replace(name=aliases.get(subject.name, subject.name))


def _start(book: OrderBook, subjects: list[Subject], order: Order) -> list[str]:
    return book.request(subjects, order.made_by, time.time(), force=order.force)


def _restart(book: OrderBook, subjects: list[Subject], order: Order) -> list[str]:
    return book.request(subjects, order.made_by, time.time(), again=True)


def _stop(book: OrderBook, subjects: list[Subject], order: Order) -> list[str]:
    return book.override(subjects, PAUSED, order.made_by, time.time(), reason=order.reason)


def _disable(book: OrderBook, subjects: list[Subject], order: Order) -> list[str]:
    return book.override(subjects, DISABLED, order.made_by, time.time(), reason=order.reason)


def _enable(book: OrderBook, subjects: list[Subject], _order: Order) -> list[str]:
    book.lift(subjects, time.time())
    return []


VERBS: dict[str, Callable[[OrderBook, list[Subject], Order], list[str]]] = {
    "start": _start,
    "restart": _restart,
    "stop": _stop,
    "disable": _disable,
    "enable": _enable,
}
_OFF = ("stop", "disable")
_ENDING = (*_OFF, "restart")
STARTING = ("start", "restart")


def _told(order: Order, *, at_work: bool, held: bool) -> str:
    if held and order.verb in STARTING and not (at_work and order.verb == "start"):
        words = "its run is being ended; " if at_work else ""
        return f"{words}begins after `skipjack release`: this worker is held"
    if order.verb == "enable":
        return "follows its schedule" + (" after `skipjack release`: this worker is held" if held else "")
    if order.verb in _OFF:
        words = "paused until `skipjack start`" if order.verb == "stop" else "disabled until `skipjack enable`"
        return f"{words}; its run is being ended" if at_work else words
    if not at_work:
        return "begins at once" if order.force else "begins as soon as its hours and a slot allow it"
    return "is being synced already" if order.verb == "start" else "its run is being ended, then it begins again"
