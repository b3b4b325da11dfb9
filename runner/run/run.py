"""`skipjack run NAME`: one run of one mirror, from its locks to its last transaction.

Each run is a lean process of its own, so that a crash, a leak or a hang affects one mirror only.
"""

import contextlib
import os
import time
from functools import partial
from typing import NamedTuple

from runner.base import locks
from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Active, Ending, Journal, Subject
from runner.plan import plan
from runner.plan.deletion_limits import limits_of
from runner.plan.plan import Header, Planned
from runner.plugin_api import Job
from runner.run import run_locks
from runner.run.active_run import ActiveRun, next_run_at
from runner.run.directory_lock import InUse
from runner.run.parts import has_plugins, machine_of
from runner.subprocesses import launch, supervisor
from schemas import wakeup
from schemas.errors import SkipjackError
from schemas.names import is_name
from schemas.standard_streams import ERROR
from schemas.states import INTERRUPTED, LAUNCHING, REFUSED, SUCCESS

UMASK = 0o022
"""The umask of runs and of all their processes, so that a web server can read the synced files."""

_BEYOND = 1000
"""Slots beyond the worker's own for forced runs: more than an operator starts by hand, so that no forced run waits."""


class Allowed(NamedTuple):
    """Exceptions that an operator grants one run that was started by hand.

    `max_delete` replaces the limit of the definition. `from_empty` lets the run begin in an empty directory although
    the last success left files there, `while_held` lets it begin on a held worker.
    """

    max_delete: int | str | None = None
    from_empty: bool = False
    while_held: bool = False


def run(layout: StateLayout, name: str, launched: int | None, allowed: Allowed) -> int:
    """Run the mirror once; return the exit code: 0 for a success or a queued run, 1 otherwise, 143 after a SIGTERM.

    `launched` is the number that a tick gave the run, None for a run that was started by hand.
    """
    os.umask(UMASK)
    # podman does not start in a folder that its user cannot enter, such as the one where an operator typed `sudo`.
    os.chdir("/")
    # Before anything is recorded: from here on a run that gets a signal records its end.
    stop = supervisor.Stop()
    stop.listen()
    header, planned, renamed, seen = _planned(layout, name)
    mirror = planned.mirror
    if not mirror.docker_image:  # podman's helpers serve other mirrors, too, and containers are ended by name
        supervisor.adopt_orphans()
    with contextlib.ExitStack() as stack:
        book = stack.enter_context(journal.opened(layout.journal))
        if header.held and not allowed.while_held:
            from runner.overrides import hold  # loaded here, since few workers are held

            hold.require_free(header, book, name)
        _take_name(layout, book, renamed)
        try:
            held = stack.enter_context(run_locks.taken(layout, name, planned.paths, _slots(book, header, name)))
        except InUse as busy:
            return _refuse(book, planned, header, launched, str(busy))
        if held is None:
            return _wait_for_slot(book, planned, header, launched, allowed)
        number = _begin(book, planned, launched)
        job = _job(planned, layout, header, book, allowed)
        ending = ActiveRun(layout, header, seen, book, number, held, stop, job).complete()
        only_requested = book.was_requested(name)
        unmeasured = ending.status == SUCCESS and mirror.measure_size and book.needs_size(name, time.time())
    # After the locks are released: a tick that starts earlier would find the slot taken.
    wakeup.send(header.run_dir, wakeup.COURIER)
    launch.want_tick(layout, only_requested=only_requested)
    if unmeasured:
        launch.want_measure(layout, name)
    code = _exit_code(ending, stop)
    if has_plugins(mirror):
        from runner.run import plugin_interruption

        plugin_interruption.leave_threads(name, code)
    return code


def _planned(layout: StateLayout, name: str) -> tuple[Header, Planned, list[Planned], plan.Stamp]:
    """Return the plan's header, the mirror, the mirror again if it was renamed, and the stamp of the plan's file.

    SkipjackError if the mirror is unknown.
    """
    if not is_name(name):
        raise SkipjackError(f"`{name}` is not a valid mirror name.", "`skipjack next` lists this worker's mirrors.")
    with plan.opened(layout.plan) as opened:
        header, planned = opened.header, opened.mirror(name)
        if planned is None:
            raise opened.missing(name)
        renamed = opened.renamed() if planned.mirror.formerly else ()
    return header, planned, [each for each in renamed if each.mirror.name == name], opened.stamp


def _wait_for_slot(book: Journal, planned: Planned, header: Header, launched: int | None, allowed: Allowed) -> int:
    """Queue the run; SkipjackError if a tick could not start it later as the operator asked for it."""
    name, again = planned.mirror.name, "Run it again when another run has ended."
    busy = f"cannot sync {name}: all slots are busy, and "
    if allowed.while_held and header.held:
        from runner.overrides import hold  # loaded here, since few workers are held

        if hold.is_held(header, book):
            raise SkipjackError(f"{busy}no tick starts it later on a held worker.", again)
    if allowed.max_delete is not None or allowed.from_empty:
        raise SkipjackError(f"{busy}`--max-delete` and `--from-empty` apply only to a run that starts now.", again)
    book.queue(launched, Subject.of(planned), time.time())
    log("no slot is free; waiting for one", about=name)
    return 0


def _begin(book: Journal, planned: Planned, launched: int | None) -> int:
    """Record the beginning of the run and return its number; SkipjackError if it may not begin."""
    name = planned.mirror.name
    number = book.begin(launched, Subject.of(planned), time.time())
    if number is not None:
        return number
    if launched is None:
        raise SkipjackError(
            f"cannot sync {name}: it is paused or disabled.", f"`skipjack start {name}` lifts that and starts it."
        )
    todo = "The next tick starts the mirror if it is due."
    raise SkipjackError(f"launch {launched} of {name} was cancelled meanwhile.", todo)


def _job(planned: Planned, layout: StateLayout, header: Header, book: Journal, allowed: Allowed) -> Job:
    name = planned.mirror.name
    job = Job(planned.mirror, planned.paths, machine_of(layout, header))
    job.limits, job.past = limits_of(planned.mirror, allowed.max_delete), book.past(name)
    job.from_empty = allowed.from_empty
    job.deleting, job.deleted_less = partial(book.deleting, name), partial(book.deleted_less, name)
    job.first_look = partial(book.first_look, name)
    return job


def _take_name(layout: StateLayout, book: Journal, renamed: list[Planned]) -> None:
    """Move the journal's rows of a renamed mirror to its current name; SkipjackError if it still runs under another."""
    for mirror, _paths, _revision in renamed:
        from runner.journal import rename_migration  # loaded here, since few mirrors were renamed

        aliases = rename_migration.continue_history(book, renamed, time.time())
        held = (each for each in mirror.formerly if locks.is_in_use(layout.lock("mirror", each)))
        previous = aliases.get(mirror.name) or next(held, None)
        if previous is not None:
            what = f"cannot sync {mirror.name}: a run under its previous name {previous} is still active."
            raise SkipjackError(what, "Wait for the end of that run.")


def _refuse(book: Journal, planned: Planned, header: Header, launched: int | None, reason: str) -> int:
    """Record that a launched run is refused; SkipjackError for a run that was started by hand."""
    name = planned.mirror.name
    if launched is None:
        raise SkipjackError(f"cannot sync {name}: {reason}.", "Then run it again.")
    now = time.time()
    ending = Ending(REFUSED, reason)
    ending = ending._replace(next_run_at=next_run_at(planned.mirror, book, header, ending, now))
    # `recover` and not `end`: the run has not begun, and a tick may have given it up meanwhile.
    book.recover(Active(launched, name, LAUNCHING, now), ending, now)
    log(f"{REFUSED}: {reason}", about=name, level=ERROR)
    wakeup.send(header.run_dir, wakeup.COURIER)
    return 1


def _slots(book: Journal, header: Header, name: str) -> int:
    """Return the number of slots for a run; a forced one may use slots beyond those of the worker."""
    return header.slots + (_BEYOND if book.is_forced(name) else 0)


def _exit_code(ending: Ending, stop: supervisor.Stop) -> int:
    if ending.status == INTERRUPTED:
        # As a shell reports it; for 143 the unit has SuccessExitStatus=.
        return 128 + (stop.signal or 15)
    return 0 if ending.status == SUCCESS else 1
