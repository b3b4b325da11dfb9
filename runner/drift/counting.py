"""How many things are without a definition? Counted once a day and after each new plan, for the manager's pages."""

import contextlib
import os
import time

from runner.base.state_dir import StateLayout
from runner.drift import search
from runner.drift.items import OVERRIDE
from runner.journal import journal
from schemas.errors import SkipjackError
from schemas.records import RunnerSettings
from schemas.regular_files import replace_regular

_EVERY = 86400.0
"""Seconds between two counts without a new plan."""


def count(settings: RunnerSettings, *, again: bool = False) -> None:
    """Count and write the number if the last count is old, or `again`; one that fails is done by the next follow."""
    layout = StateLayout(settings.state_dir)
    with contextlib.suppress(OSError, SkipjackError):
        if not again and _is_recent(layout):
            return
        is_new = not os.path.exists(layout.journal)
        # It is opened here, since a copy of a large one costs more than all the rest.
        drift, _defined = search.look(settings, journal.copied if is_new else journal.opened)
        found = [each for each in drift.items if each.kind != OVERRIDE]
        replace_regular(layout.leftovers, f"{len(found)}\n")


def _is_recent(layout: StateLayout) -> bool:
    try:
        at = os.stat(layout.leftovers).st_mtime
    except FileNotFoundError:
        return False
    # A time in the future comes from a clock that was set back.
    return os.stat(layout.plan).st_mtime < at <= time.time() < at + _EVERY
