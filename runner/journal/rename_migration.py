"""Renamed mirrors: what the journal knows under a former name goes on under the new one.

While a run is under way its mirror goes by the name under which the run began: its locks, its unit and its container
have that name. Only when it has ended is the journal changed, by whoever comes first of those who need to know.
"""

import contextlib
import os
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TypeVar

from runner.base.output import note
from runner.journal.journal import Journal, Subject
from runner.plan.plan import Planned

T = TypeVar("T")


def continue_history(book: Journal, renamed: Sequence[Planned], now: float, *, copy: bool = False) -> dict[str, str]:
    """Let renamed mirrors go on where their former names ended; gives those that still run under one, with that name.

    The manager is told by a snapshot, so that it forgets the former names even if it follows no repository. `copy` says
    that the book is a copy, so that no file is touched.
    """
    known = book.states().keys() | book.operator_requests().keys() if renamed else frozenset()
    left = [(each, former) for each in renamed if (former := [name for name in each.mirror.formerly if name in known])]
    if not left:
        return {}
    with book.together() as db:
        busy = {active.mirror for active in book.active()}
        ready = [each for each in left if not busy & {each[0].mirror.name, *each[1]}]
        for planned, former in ready:
            _adopt(db, planned, former, copy=copy)
        if ready:
            book.snapshot(book.acknowledged(), now)
    waiting = [each for each in left if each[0].mirror.name not in busy]
    return {each.mirror.name: name for each, former in waiting for name in former if name in busy}


def under_current_names(found: Mapping[str, T], aliases: Mapping[str, str]) -> dict[str, T]:
    """What is known by name, with the runs under former names (`continue_history` returned them) under the new ones."""
    now = {former: name for name, former in aliases.items()}
    kept = {name: value for name, value in found.items() if name not in aliases}
    return {now.get(name, name): value for name, value in kept.items()}


def _adopt(db: sqlite3.Connection, planned: Planned, former: Sequence[str], *, copy: bool) -> None:
    name = planned.mirror.name
    for old in former:
        if not copy:
            _carry_logs(planned, old)
        db.execute("UPDATE run SET mirror = ? WHERE mirror = ?", (name, old))
        if not _has_run(db, name):
            _take_over(db, name, old)
        for table, column in (("mirror", "name"), ("override", "mirror"), ("request", "mirror")):
            db.execute(f"DELETE FROM {table} WHERE {column} = ?", (old,))  # noqa: S608 - own names
        if not copy:
            note(f"goes on where {old}, its former name, ended", about=name)
    _, upstream, is_master, _ = Subject.of(planned)
    db.execute("UPDATE mirror SET upstream = ?, is_master = ? WHERE name = ?", (upstream, is_master, name))


def _has_run(db: sqlite3.Connection, name: str) -> bool:
    """Whether a mirror has a state of its own, which then counts."""
    row = db.execute("SELECT run FROM mirror WHERE name = ?", (name,)).fetchone()
    return row is not None and row[0] is not None


def _take_over(db: sqlite3.Connection, name: str, old: str) -> None:
    """Give the new name the state of the old one, and what somebody wants of it, unless he wants another thing now."""
    if db.execute("SELECT 1 FROM mirror WHERE name = ?", (old,)).fetchone():
        db.execute("DELETE FROM mirror WHERE name = ?", (name,))
        db.execute("UPDATE mirror SET name = ? WHERE name = ?", (name, old))
    if not db.execute("SELECT 1 FROM request WHERE mirror = ?", (name,)).fetchone():
        db.execute("UPDATE OR IGNORE override SET mirror = ? WHERE mirror = ?", (name, old))
    if not db.execute("SELECT 1 FROM override WHERE mirror = ?", (name,)).fetchone():
        db.execute("UPDATE OR IGNORE request SET mirror = ? WHERE mirror = ?", (name, old))
    held = "SELECT kind FROM override WHERE mirror = name"
    db.execute(f"UPDATE mirror SET status = ({held}), next_run_at = NULL WHERE name = ? AND ({held}) <> ''", (name,))  # noqa: S608 - own words


def _carry_logs(planned: Planned, old: str) -> None:
    """Let the folder of the logs follow, if it is called after the mirror; what stays behind harms nobody."""
    folder = planned.paths.log_dir
    if planned.mirror.log_dir is None and not os.path.exists(folder):
        with contextlib.suppress(OSError):
            os.rename(os.path.join(os.path.dirname(folder), old), folder)
