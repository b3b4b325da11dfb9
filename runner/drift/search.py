"""Everything that this worker has beside its plan. Nothing is changed."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

from runner.base.state_dir import StateLayout
from runner.drift import folders, known, state
from runner.drift.items import KINDS, Drift
from runner.drift.known import Defined
from runner.journal import journal
from runner.journal.journal import Journal
from runner.subprocesses.spawn import CannotStart, TooSlow
from schemas.records import RunnerSettings

JournalReader: TypeAlias = Callable[[str], AbstractContextManager[Journal]]


def look(settings: RunnerSettings, open_journal: JournalReader = journal.copied) -> tuple[Drift, Defined]:
    """Return the drift, and what has a definition; SkipjackError if there is no usable plan or journal.

    `open_journal` opens the journal for reading.
    """
    found = known.load(settings)
    unread: list[str] = []
    with open_journal(StateLayout(settings.state_dir).journal) as book:
        items = [*state.states(settings, found, book), *state.overrides(found, book, time.time())]
    items += folders.directories(settings, found, unread)
    items += folders.logs(settings, found, unread)
    items += folders.snapshots(settings, found, unread)
    items += state.containers(settings, found)
    try:
        items += state.left_units(settings, found)
    except (CannotStart, TooSlow) as error:
        unread.append(f"cannot list the units: {error}.")
    items.sort(key=lambda each: (KINDS.index(each.kind), each.path or each.name))
    return Drift(found.worker, found.revision, tuple(items), found.behind, tuple(unread)), found
