"""To which earlier revision is this worker pinned, and what is in it?

The journal has the order, the plan what came of it: so a follow that is killed leaves nothing half done.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.plan.plan import Header, Pin, PlanProblem
from schemas.git import repository
from schemas.git.repository import Revision
from schemas.problems import printable
from schemas.records import RunnerSettings

PIN = "pin"
"""The place of a problem with a pin: the command."""


def current(layout: StateLayout, header: Header | None, now: float) -> Pin | None:
    """Return the pin of this worker; one that is over is removed. `header` is that of the plan in force.

    Also records the revision of that plan, in case the follow that has written it was killed.
    """
    if header is None and not os.path.exists(layout.journal):
        return None
    with journal.opened(layout.journal) as book:
        newest = book.revisions.in_force()[:1]
        if header and [each.commit for each in newest] != [header.revision]:
            remember(layout, header)
        pin = book.revisions.pin()
        if pin is None or now < pin.until:
            return pin
        with book.together():
            book.revisions.set_pin(None)
    log(f"the pin to revision {pin.commit[:12]} is over; the newest revision is applied again", about="follow")
    return None


def remember(layout: StateLayout, header: Header) -> None:
    """Record that the revision of the plan is in force, since that file was written."""
    with journal.opened(layout.journal) as book, book.together():
        book.revisions.remember(header, os.stat(layout.plan).st_mtime)


def read(
    settings: RunnerSettings, layout: StateLayout, pin: Pin, header: Header | None
) -> tuple[Revision, tuple[PlanProblem, ...]]:
    """Return the revision of a pin, without the remote repository.

    If it is lost and the plan in force is made from it, it has no files, and the second value is the reason: then that
    plan stays. SkipjackError if it cannot be read otherwise.
    """
    try:
        return repository.earlier(settings.repository, Path(layout.checkout), pin.commit), ()
    except repository.Missing as error:
        if header is None or header.revision != pin.commit:
            raise
        return Revision(pin.commit, 0.0, ()), ((None, PIN, _capitalized(error.what), _UNPIN),)


_UNPIN = "`skipjack unpin` applies the newest revision."


def with_signer(layout: StateLayout, revision: Revision) -> Revision:
    """Return a revision with the signer that was verified when it was in force before, if it has none."""
    if revision.signing_key or not os.path.exists(layout.journal):
        return revision
    with journal.opened(layout.journal) as book:
        known = next((each for each in book.revisions.in_force() if each.commit == revision.commit), None)
    return revision._replace(signer=known.signer, signing_key=known.signing_key) if known else revision


def base(header: Header, old: Header | None, *, accepts: bool) -> str:
    """Return the commit that the history must contain, apart from the one in force; `header` is of the next plan.

    It stays the newest one that was in force, until the newest is in force again, or an operator `accepts` another
    history during a pin.
    """
    if old is None or header.revision == header.seen:
        return ""
    if accepts and header.seen:
        return header.seen
    return old.base or old.revision or ""


def described(header: Header) -> str:
    """Return the pin of a plan as text: to what, until when, by whom and why, and the newest revision."""
    pin = header.pin
    if pin is None:
        return ""
    why = f": {printable(pin.reason)}" if pin.reason else ""
    newest = "the newest" if header.seen == pin.commit else f"the newest is {(header.seen or 'unknown')[:12]}"
    return f"pinned to {pin.commit[:12]} until {moment(pin.until)} by {printable(pin.made_by)}{why}; {newest}"


def moment(at: float) -> str:
    """Return a time as text."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]
