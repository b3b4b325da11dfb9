"""Is the revision in force the likely reason why mirrors fail?

It is the suspect if several mirrors that synced before it fail soon after it came into force. Failures to reach an
upstream do not count: no revision causes these.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runner.journal.journal import Journal
from runner.journal.revision_table import RevisionInForce
from runner.plan.plan import Header
from schemas.units import setting_duration

FAILING, WITHIN = 3, 3600
"""Mirrors that must fail, and within how many seconds after the revision came into force."""

_SHOWN = 86400.0
"""Seconds after it came into force for which a revision is suspected: later, people know."""

_NAMED = 5
"""Mirrors that the text names."""


class FirstFailure(NamedTuple):
    """A mirror that fails: when it last succeeded and when it first failed after that, in seconds since 1970 UTC."""

    mirror: str
    succeeded_at: float
    failed_at: float


class Suspect(NamedTuple):
    """A suspected revision, the one that was in force before it, and the mirrors that fail since."""

    commit: str
    previous: str
    mirrors: tuple[str, ...]


def find(known: Sequence[RevisionInForce], failures: Iterable[FirstFailure]) -> Suspect | None:
    """Return the suspected revision; `known` are those that were in force, the present one first."""
    if len(known) < 2:
        return None
    present, previous = known[:2]
    mirrors = tuple(
        sorted(
            each.mirror
            for each in failures
            if each.succeeded_at <= present.since <= each.failed_at <= present.since + WITHIN
        )
    )
    return Suspect(present.commit, previous.commit, mirrors) if len(mirrors) >= FAILING else None


def look(book: Journal, header: Header, now: float) -> Suspect | None:
    """Return the suspect by a journal and the plan in force; None on a pinned worker."""
    known = book.revisions.in_force()
    if header.pin or not known or known[0].commit != header.revision or now > known[0].since + _SHOWN:
        return None
    return find(known, _failures(book, known[0].since))


def _failures(book: Journal, since: float) -> Iterable[FirstFailure]:
    for name, state in book.states().items():
        if state.failures and not state.unreached and state.last_success_at and state.last_success_at <= since:
            failed_at = book.runs.first_failure(name, state.last_success_at)
            if failed_at is not None:
                yield FirstFailure(name, state.last_success_at, failed_at)


def described(suspect: Suspect) -> tuple[str, str]:
    """Return the suspicion as text, and the command that goes back."""
    more = len(suspect.mirrors) - _NAMED
    names = ", ".join(suspect.mirrors[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    what = f"Revision {suspect.commit[:12]} is the suspect: {len(suspect.mirrors)} mirrors that synced before it"
    what += f" have failed within {setting_duration(WITHIN)}: {names}."
    return what, f"`skipjack pin {suspect.previous[:12]} --until 1d` on this worker goes back."
