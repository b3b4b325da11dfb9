"""A held worker: with `start: held` in its settings no run starts until an operator runs `skipjack release` once.

The plan has the setting, the journal has the release. After a release the setting has no effect.
"""

from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Journal
from runner.plan import plan
from runner.plan.plan import Header
from schemas.errors import SkipjackError

HELD = "held: no run starts on this worker until `skipjack release`, since its settings have `start: held`"


def is_held(header: Header, book: Journal) -> bool:
    """Return whether no run may start, neither by its schedule nor by a command."""
    return header.held and book.released() is None


def holds(layout: StateLayout, *, unplanned: bool = False) -> bool:
    """Return whether the worker is held, by its plan and its journal; `unplanned` is the answer without a plan."""
    try:
        with plan.opened(layout.plan) as opened:
            held = opened.header.held
    except SkipjackError:  # no plan yet, or a damaged one
        held = unplanned
    if not held:
        return False
    with journal.opened(layout.journal) as book:
        return book.released() is None


def require_free(header: Header, book: Journal, name: str) -> None:
    """Raise SkipjackError if the worker is held, unless the mirror's run was launched before that."""
    if is_held(header, book) and not book.is_launched(name):
        todo = f"`skipjack release` ends that; `skipjack run {name} --while-held` syncs only this mirror."
        raise SkipjackError(f"cannot sync {name}: this worker is held by `start: held` in its settings.", todo)
