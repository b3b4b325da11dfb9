"""A held worker: with `start: held` in its settings no run starts before a person says `skipjack release`, once.

The plan has what the settings say; the journal has that the worker was released, and then the settings have no effect.
"""

from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Journal
from runner.plan import plan
from runner.plan.plan import Header
from schemas.errors import SkipjackError

HELD = "held: no run starts on this worker until `skipjack release`, since its settings have `start: held`"


def is_held(header: Header, book: Journal) -> bool:
    """Whether no run may start by itself or by a command."""
    return header.held and book.released() is None


def holds(layout: StateLayout, *, unplanned: bool = False) -> bool:
    """Whether the worker is held, by its plan and its journal; without a plan that can be read `unplanned` counts."""
    try:
        with plan.opened(layout.plan) as opened:
            held = opened.header.held
    except SkipjackError:
        held = unplanned
    if not held:
        return False
    with journal.opened(layout.journal) as book:
        return book.released() is None


def require_free(header: Header, book: Journal, name: str) -> None:
    """SkipjackError when the worker is held, unless a run of the mirror was launched before it was."""
    if is_held(header, book) and not book.is_launched(name):
        todo = f"`skipjack release` ends that; `skipjack run {name} --while-held` syncs this mirror alone."
        raise SkipjackError(f"cannot sync {name}: this worker is held by `start: held` in its settings.", todo)
