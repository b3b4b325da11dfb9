"""Rename a mirror in the journal: it continues the history of its previous name.

While a run is active, its mirror keeps the name under which the run began, because its locks, unit and container have
that name. After the run, the first program that needs the mirror's journal changes it.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence
from typing import TypeVar

from runner.base.output import note
from runner.journal.journal import Journal, Subject
from runner.plan.plan import Planned

T = TypeVar("T")


def continue_history(book: Journal, renamed: Sequence[Planned], now: float, *, copy: bool = False) -> dict[str, str]:
    """Let renamed mirrors continue the history of their previous names.

    Return those that must wait, because a run is active under a previous name, each with that name. The manager gets a
    snapshot, so that it forgets previous names even if it follows no repository. `copy` means that the journal is a
    copy, so files stay untouched.
    """
    known = book.states().keys() | book.operator_requests().keys() if renamed else frozenset()
    left = [(each, previous) for each in renamed if (previous := [old for old in each.mirror.formerly if old in known])]
    if not left:
        return {}
    # One transaction: no report may show a mirror under both names, or without its history.
    with book.together():
        busy = {active.mirror for active in book.active()}
        ready = [each for each in left if not busy & {each[0].mirror.name, *each[1]}]
        for planned, previous in ready:
            _rename(book, planned, previous, copy=copy)
        if ready:
            book.outbox.snapshot(book.outbox.acknowledged(), now)
    waiting = [each for each in left if each[0].mirror.name not in busy]
    return {each.mirror.name: old for each, previous in waiting for old in previous if old in busy}


def under_current_names(found: Mapping[str, T], aliases: Mapping[str, str]) -> dict[str, T]:
    """Return values by mirror with runs under previous names (from `continue_history`) under the current ones."""
    current = {old: name for name, old in aliases.items()}
    kept = {name: value for name, value in found.items() if name not in aliases}
    return {current.get(name, name): value for name, value in kept.items()}


def _rename(book: Journal, planned: Planned, previous: Sequence[str], *, copy: bool) -> None:
    name = planned.mirror.name
    for old in previous:
        if not copy:
            _move_logs(planned, old)
        book.runs.rename(old, name)
        row = book.mirrors.row(name)
        if row is None or row["run"] is None:  # otherwise the new name has a history of its own, which counts
            book.mirrors.rename(old, name)
            book.overrides.rename(old, name)
            book.mirrors.show_override(name)
        book.mirrors.delete(old)
        book.overrides.delete(old)
        if not copy:
            note(f"continues the history of {old}, its previous name", about=name)
    _, upstream, is_master, _ = Subject.of(planned)
    book.mirrors.update(name, {"upstream": upstream, "is_master": is_master})


def _move_logs(planned: Planned, old: str) -> None:
    """Rename the folder of the logs if its name is the mirror's. If that fails, old logs stay where they are."""
    folder = planned.paths.log_dir
    if planned.mirror.log_dir is None and not os.path.exists(folder):
        with contextlib.suppress(OSError):
            os.rename(os.path.join(os.path.dirname(folder), old), folder)
