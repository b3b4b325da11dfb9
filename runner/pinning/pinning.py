"""Record a pin to a revision that this worker had in force; the follow that comes next applies it.

Only such a revision: its definitions were checked and its signature was verified when it came into force.
"""

import re
import time
from collections.abc import Sequence
from pathlib import Path

from runner.base.output import finish_unread, masked
from runner.base.state_dir import StateLayout
from runner.follow.pinned import moment, remember
from runner.journal import journal
from runner.journal.revision_table import RevisionInForce
from runner.plan import plan
from runner.plan.plan import Pin
from schemas import wakeup
from schemas.errors import SkipjackError
from schemas.git import repository
from schemas.problems import shown
from schemas.records import RunnerSettings

_ABBREVIATED = re.compile(r"[0-9a-f]{4,64}")

_LISTED = 5
"""Revisions that an error names."""


def pin(settings: RunnerSettings, revision: str, until: float, made_by: str, reason: str) -> None:
    """Pin this worker to a revision until a time in seconds since 1970 UTC, in place of an earlier pin.

    SkipjackError, and nothing is changed, without a plan, for a revision that was not in force, or one that the
    checkout does not have.
    """
    finish_unread()
    layout = StateLayout(settings.state_dir)
    with plan.opened(layout.plan) as opened:
        header = opened.header
    with journal.opened(layout.journal) as book:
        remember(layout, header)
        commit = _resolved(revision, book.revisions.in_force())
        repository.earlier(settings.repository, Path(layout.checkout), commit)
        with book.together():
            book.revisions.set_pin(Pin(commit, until, time.time(), masked(made_by), masked(reason)))


def unpin(settings: RunnerSettings) -> bool:
    """Remove the pin; return whether there was one."""
    finish_unread()
    with journal.opened(StateLayout(settings.state_dir).journal) as book, book.together():
        found = book.revisions.pin()
        book.revisions.set_pin(None)
    return found is not None


def wake_courier(settings: RunnerSettings) -> None:
    """Let the manager know soon."""
    wakeup.send(settings.run_dir, wakeup.COURIER)


def _resolved(revision: str, known: Sequence[RevisionInForce]) -> str:
    """Return the full name of a revision that was in force; SkipjackError if there is none, or more than one."""
    text = revision.lower()
    found = {each.commit for each in known if each.commit.startswith(text)} if _ABBREVIATED.fullmatch(text) else set()
    if len(found) == 1:
        return found.pop()
    if found:
        names = ", ".join(sorted(found))
        raise SkipjackError(
            f"cannot pin to {shown(revision)}: several revisions begin so: {names}.", "Name one of them."
        )
    newest = {each.commit: each for each in reversed(known)}
    listed = sorted(newest.values(), key=lambda each: each.since, reverse=True)[:_LISTED]
    what = f"cannot pin to {shown(revision)}: this worker had no such revision in force."
    raise SkipjackError(what, f"The last ones: {'; '.join(map(_line, listed))}.")


def _line(each: RevisionInForce) -> str:
    until = f"until {moment(each.until)}" if each.until is not None else "in force now"
    return f"{each.commit[:12]} since {moment(each.since)}, {until}"
