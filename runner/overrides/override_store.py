"""Overrides (paused, disabled) and start requests, in the journal.

An override holds until it is lifted, a start request until the run starts. A run reads both by itself. Each function
that writes is one durable transaction, with its reports.
"""

from runner.base.output import masked
from runner.journal.journal import Ending, Journal, Subject
from runner.journal.override_table import Released
from schemas.states import DISABLED, INTERRUPTED, LAUNCHING, NONE, PAUSED


def override(
    book: Journal, subjects: list[Subject], kind: str, made_by: str, now: float, *, reason: str = ""
) -> list[str]:
    """Pause or disable mirrors; return those that have a run, whose end will have the reason."""
    made_by, reason = masked(made_by), masked(reason)
    words = f"{kind} by {made_by}" + (f": {reason}" if reason else "")
    names = {subject.name for subject in subjects}
    with book.together():
        for name in names:
            book.overrides.override(name, kind, now, made_by, reason)
        _end_launched(book, names, words, now)
        running = [active.mirror for active in book.active() if active.mirror in names]
        for subject in subjects:
            # One with a run keeps the run's status, and gets this one when the run ends.
            if subject.name not in running:
                book.mirrors.put(subject, kind)
                book.mirrors.update(subject.name, {"next_run_at": None})
                book.outbox.report(subject.name, now)
        book.give_reason_to_stop(running, words)
    return running


def end_removed(book: Journal, mirrors: list[str], reason: str, now: float) -> None:
    """Record why the runs of mirrors that this worker no longer has are ended. No mirror is paused."""
    with book.together():
        _end_launched(book, set(mirrors), reason, now)
        book.give_reason_to_stop(mirrors, reason)


def lift(book: Journal, subjects: list[Subject], now: float) -> None:
    """Lift overrides, so that mirrors follow their schedule; one without a run shows its last run's status again."""
    with book.together():
        for subject in subjects:
            held, row = book.overrides.lift(subject.name), book.mirrors.row(subject.name)
            # Any other status belongs to a run, which goes on.
            if held and row is not None and row["status"] in (PAUSED, DISABLED):
                last = book.last_run(subject.name)
                book.mirrors.put(subject, last.status if last else NONE)
                book.outbox.report(subject.name, now)


def request(
    book: Journal, subjects: list[Subject], made_by: str, now: float, *, force: bool = False, again: bool = False
) -> list[str]:
    """Request a start of mirrors, which also lifts their overrides; return those that have a run.

    A mirror that has a run gets no start request, unless it is to run `again` or its run is already being stopped.
    """
    made_by = masked(made_by)
    with book.together():
        lift(book, subjects, now)
        # A run that is being stopped does not count: its mirror starts again when it has ended.
        active = {each.mirror for each in book.active()} - (set() if again else book.mirrors.with_reason_to_stop())
        running = [subject.name for subject in subjects if subject.name in active]
        for subject in subjects:
            if again or subject.name not in active:
                book.overrides.request(subject.name, now, made_by, force=force)
        if again:
            book.give_reason_to_stop(running, f"restarted by {made_by}")
    return running


def release(book: Journal, made_by: str, now: float) -> Released | None:
    """Release a held worker. If it was released before, return that release and change nothing."""
    with book.together():
        before = book.released()
        if before is None:
            book.overrides.release(now, masked(made_by))
    return before


def hold(book: Journal) -> bool:
    """Take back the release of a worker; return whether it was released."""
    with book.together():
        return book.overrides.hold()


def _end_launched(book: Journal, mirrors: set[str], reason: str, now: float) -> None:
    """End runs that were launched and have not started; their processes notice it when they start."""
    for active in book.active():
        if active.mirror in mirrors and active.status == LAUNCHING:
            book.record_end(active.id, active.mirror, Ending(INTERRUPTED, reason), now)
