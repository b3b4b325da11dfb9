"""The journal: states, runs and the outbox in one SQLite file. Each method that writes is one durable transaction.

A change of state and the report about it are one transaction, so the manager never knows something that is not true,
and never misses a change. `runner/overrides/override_store.py` adds what operators ask for.
"""

import _sqlite3 as sqlite3  # without dates and times, which each run and tick would load
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from runner.base.output import log, masked
from runner.journal import sizes, sqlite_file
from runner.journal.mirror_table import MirrorTable
from runner.journal.mirror_table import Subject as Subject
from runner.journal.outbox import Outbox
from runner.journal.override_table import OverrideTable
from runner.journal.override_table import Released as Released
from runner.journal.run_table import Active as Active
from runner.journal.run_table import Ending as Ending
from runner.journal.run_table import RunTable, columns_of, storable, with_cause
from runner.journal.sizes import LogFigures
from runner.journal.sqlite_file import transaction
from runner.plan.schedule import RECOVERY_DELAY, WITHOUT_NEXT_RUN, OperatorRequest, State, count_failures
from schemas.report import MirrorStatus, Probe, Run
from schemas.standard_streams import WARNING
from schemas.states import ENDS, INTERRUPTED, LAUNCHING, NONE, PRE_SYNCING, QUEUED, SUCCESS

if TYPE_CHECKING:  # most ticks record nothing, and runs have loaded the first
    from runner.journal.last_success import Past
    from runner.journal.revision_table import RevisionTable

KEPT_RUNS = 100
"""Ended runs kept for each mirror, once the manager knows them."""


@contextmanager
def opened(path: str) -> Iterator["Journal"]:
    """Open the journal, created or migrated if needed; SkipjackError if that is not possible."""
    with sqlite_file.opened(path) as connection:
        yield Journal(connection)


@contextmanager
def copied(path: str) -> Iterator["Journal"]:
    """Open a copy of the journal, for programs that must not change it; see `sqlite_file.copied`."""
    with sqlite_file.copied(path) as connection:
        yield Journal(connection)


class Journal:
    """An open journal. Its tables are `mirrors`, `runs`, `overrides` and `revisions`; `outbox` has the reports."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.mirrors, self.runs = MirrorTable(connection), RunTable(connection)
        self.overrides = OverrideTable(connection)
        self.outbox = Outbox(connection, self.mirrors, self.runs, self.overrides)

    @contextmanager
    def together(self) -> Iterator[sqlite3.Connection]:
        """Make several changes one transaction; yields the connection for tables that this class does not know."""
        with transaction(self._db):
            yield self._db

    @property
    def revisions(self) -> "RevisionTable":
        """The tables of revisions that were in force, and of the pin."""
        from runner.journal.revision_table import RevisionTable  # neither ticks nor runs need it

        return RevisionTable(self._db)

    # Reading

    def states(self) -> dict[str, State]:
        """Return every mirror's state by name."""
        return self.mirrors.states()

    def state(self, mirror: str) -> State:
        """Return the state of a mirror that has begun a run."""
        return self.mirrors.state(mirror)

    def statuses(self) -> list[MirrorStatus]:
        """Return every mirror as reports show it now, without log tails, by name."""
        return self.outbox.statuses()

    def operator_requests(self) -> dict[str, OperatorRequest]:
        """Return what operators asked for by mirror: overrides, and starts that have not begun."""
        return self.overrides.all()

    def run(self, run: int) -> Run | None:
        """Return a run as reports have it; None if it does not exist."""
        return self.runs.get(run)

    def last_run(self, mirror: str) -> Run | None:
        """Return the last run of a mirror that began or ended; None before the first."""
        row = self.mirrors.row(mirror)
        return self.run(row["run"]) if row and row["run"] is not None else None

    def active(self) -> list[Active]:
        """Return the runs that have, or should have, a process."""
        return self.runs.active()

    def released(self) -> Released | None:
        """Return when the worker was released from `start: held`; None if it was not."""
        return self.overrides.released()

    def is_launched(self, mirror: str) -> bool:
        """Return whether a run of the mirror was launched and has not begun yet."""
        return any(active.mirror == mirror and active.status == LAUNCHING for active in self.active())

    def is_forced(self, mirror: str) -> bool:
        """Return whether a run of the mirror was launched that may exceed the worker's slots."""
        row = self.mirrors.row(mirror)
        return row is not None and row["status"] == LAUNCHING and bool(row["forced"])

    def was_requested(self, mirror: str) -> bool:
        """Return whether the mirror's newest run began by hand, or by a start request where nothing else was due."""
        return self.runs.was_requested(mirror)

    def runs_to_stop(self) -> list[str]:
        """Return the mirrors whose runs have to end: a command may have died before it signalled them."""
        return self.mirrors.to_be_ended()

    def waiting_runs(self) -> int:
        """Return how many runs are between two attempts without a slot."""
        return self.mirrors.count_waiting()

    def busy_slots(self, besides: str = "") -> int:
        """Return how many runs have a slot, without the run of the mirror `besides`."""
        return self.mirrors.count_busy(besides)

    def probes_due(self, files: Mapping[str, str], now: float, every: float) -> list[str]:
        """Return the idle mirrors among `files` that are due for a probe; see `MirrorTable.probes_due`."""
        return self.mirrors.probes_due(files, now, every)

    def probe(self, mirror: str) -> Probe | None:
        """Return the result of a mirror's last comparison with its upstream."""
        return self.mirrors.probe(mirror)

    def past(self, mirror: str) -> "Past":
        """Return what earlier runs left in a mirror's directory."""
        from runner.journal.last_success import Past

        past = self.mirrors.past(mirror)
        if past is None:
            return Past()
        return past._replace(counted=bool(past.counted) and self.runs.last_end(mirror) == SUCCESS)

    def needs_size(self, mirror: str, now: float) -> bool:
        """Return whether the mirror's size should be measured on disk; see `sizes.is_measurement_due`."""
        row, run = self.mirrors.row(mirror), self.last_run(mirror)
        return row is not None and run is not None and sizes.is_measurement_due(row, run.size, now)

    def logged_size(self, mirror: str) -> int | None:
        """Return the bytes that the last success's log showed as a sum over names; None if it showed none."""
        row = self.mirrors.row(mirror)
        return None if row is None else row["told_size"]

    # What is in the directory

    def first_look(self, mirror: str, upstream: str, files: int, size: int, on_disk: int | None = None) -> None:
        """Record what a mirror without an accepted success is compared with.

        SkipjackError if the disk is full: then the run would have nothing to be compared with.
        """
        from runner.journal import last_success

        seen = last_success.columns_of_first_look(upstream, files, size, on_disk)
        with sqlite_file.or_failed("cannot keep in the journal what a directory holds"), transaction(self._db):
            self.mirrors.update(mirror, seen)

    def allow_empty_start(self, mirror: str) -> None:
        """Record that the operator lets a mirror start in an empty directory, until the next success."""
        from runner.journal import last_success

        with transaction(self._db):
            self.mirrors.update(mirror, last_success.columns_of_empty_start())

    def deleting(self, mirror: str, token: str, files: int, size: int) -> None:
        """Record files and their bytes before they are deleted, under a token that `deleted_less` needs.

        SkipjackError if the disk is full: then nothing may be deleted.
        """
        with sqlite_file.or_failed("cannot count deletions in the journal"), transaction(self._db):
            self.mirrors.add_deletions(mirror, token, files, size)

    def deleted_less(self, mirror: str, token: str, files: int, size: int) -> None:
        """Take back, once, files and bytes recorded under a token that were not deleted."""
        with sqlite_file.or_failed("cannot correct the count of deletions in the journal"), transaction(self._db):
            self.mirrors.take_back_deletions(mirror, token, files, size)

    def measured(self, mirror: str, size: int, now: float, logged: int | None = None) -> None:
        """Record a size measured on disk, in bytes; `logged` is the size from a log when the walk began."""
        with transaction(self._db):
            self.mirrors.correct_size(mirror, size, self.logged_size(mirror) if logged is None else logged, now)
            self.outbox.report(mirror, now)

    # The life of a run

    def launch(
        self, subjects: list[Subject], waiting: list[Subject], now: float, *, by_request: bool = False
    ) -> dict[str, int]:
        """Record launched runs, and mirrors that wait for a slot; return the ids of the launched runs by mirror.

        Skips mirrors that have an active run, since two ticks may have decided the same, or were paused or disabled
        meanwhile. Of those that wait it skips the ones whose run has ended since. A launch grants a start request.
        `by_request` marks runs of a tick that launches only requested mirrors.
        """
        launched: dict[str, int] = {}
        if subjects:
            sqlite_file.hold_back(self._db)  # once for all that begin now
        with transaction(self._db):
            asked = self.operator_requests()
            # Read in this transaction: since the decision another tick or an operator may have changed it.
            busy = {active.mirror for active in self.active()} | {name for name, each in asked.items() if each.override}
            for subject in (each for each in subjects if each.name not in busy):
                launched[subject.name] = self.runs.add(subject.name, subject.revision, now, by_request=by_request)
                self.mirrors.put(subject, LAUNCHING)
                self._grant(subject.name, forced=subject.name in asked and asked[subject.name].force)
                self.outbox.report(subject.name, now)
            for subject in waiting:
                if subject.name not in busy and self._may_wait(subject.name, now):
                    self.mirrors.put(subject, QUEUED)
                    self.outbox.report(subject.name, now)
        return launched

    def queue(self, launched: int | None, subject: Subject, now: float) -> None:
        """Record that a mirror waits for a slot; its launched run, if any, is removed since it never began.

        `launched` None means any launched run of the mirror, or a run by hand. A run that was requested by name becomes
        a start request again.
        """
        with transaction(self._db):
            requested = self.runs.withdraw(subject.name, launched)
            if requested is None:
                requested = launched is None
            if requested and not self.overrides.kind(subject.name):
                self.overrides.renew_request(subject.name, now, "an operator", force=False)
            self.mirrors.put(subject, QUEUED)
            self.outbox.report(subject.name, now)

    def requeue(self, active: Active, now: float) -> None:
        """Record that a launched run could not begin for an external reason, and waits to be launched again."""
        with transaction(self._db):
            if self.runs.withdraw(active.mirror, active.id) is None:
                return
            self.mirrors.requeue(active.mirror)
            row = self.mirrors.row(active.mirror)
            if row is not None and row["forced"]:
                self.overrides.renew_request(active.mirror, active.launched_at, "an operator", force=True)
            self.outbox.report(active.mirror, now)

    def begin(self, launched: int | None, subject: Subject, now: float) -> int | None:
        """Record that a run begins: the launched one, or for None a new one. The caller holds the mirror's locks.

        Return its id, or None if the launched run is no longer expected (it was given up or replaced), or the mirror
        was paused or disabled. Other runs of the mirror that seem active are dead, since their locks are free.
        """
        # Before the transaction, which makes other runs wait.
        sqlite_file.hold_back(self._db)
        with transaction(self._db):
            if self.overrides.kind(subject.name):
                return None
            for active in [each for each in self.active() if each.mirror == subject.name and each.id != launched]:
                if launched is None and active.status == LAUNCHING:
                    launched = active.id
                else:
                    gone = Ending(INTERRUPTED, "the run's process is gone", died=True)
                    self.record_end(active.id, subject.name, gone, now)
            run = self.runs.add(subject.name, subject.revision, now, by_request=True) if launched is None else launched
            if not self.runs.begin(run, subject.revision, now):
                return None
            self.mirrors.put(subject, PRE_SYNCING, run=run)
            if launched is None:  # started by hand, so a tick must not end it when its sync window closes
                self._grant(subject.name, forced=True)
            self.mirrors.update(subject.name, {"last_started_at": now})
            self._correct_success(subject.name, now)
            self.outbox.report(subject.name, now)
        return run

    def attempt(
        self, run: int, mirror: str, status: str, attempts: int, now: float, identity: int | None = None
    ) -> None:
        """Record that an attempt begins. It begins also if the disk is full: the end of the run has the number.

        `identity` is that of the directory, which a killed run may leave empty.
        """
        with sqlite_file.if_there_is_room(self._db):
            self.runs.update(run, {"status": status, "attempts": attempts, "reason": ""})
            self.mirrors.update(mirror, {"status": status, "emptied": identity, "next_attempt_at": None})
            self.outbox.report(mirror, now)

    def wait_between_attempts(self, run: int, mirror: str, until: float, reason: str, now: float) -> None:
        """Record that a run has given up its slot and wants one again at `until` for its next attempt.

        `reason` says why there is another attempt. If the disk is full, no other run gets the slot.
        """
        with sqlite_file.if_there_is_room(self._db):
            self.runs.update(run, {"status": PRE_SYNCING, "reason": masked(reason)})
            self.mirrors.update(mirror, {"status": PRE_SYNCING, "next_attempt_at": until})
            self.outbox.report(mirror, now)

    def claim_slot(self, mirror: str, slots: int) -> bool:
        """Record that a waiting run has one of `slots` slots again; False if none is free."""
        free = True
        with sqlite_file.if_there_is_room(self._db):
            free = self.busy_slots(mirror) < slots
            if free:
                self.mirrors.update(mirror, {"next_attempt_at": None})
        return free

    def return_slot(self, mirror: str, now: float) -> None:
        """Record that a run waits for a slot again, since the one that it claimed could not be locked."""
        with sqlite_file.if_there_is_room(self._db):
            self.mirrors.update(mirror, {"next_attempt_at": now})

    def end(self, run: int, mirror: str, ending: Ending, now: float) -> bool:
        """Record how a run ended, once: False if its end is recorded already. Works on a full disk, too."""
        return sqlite_file.with_room(self._db, lambda: self.record_end(run, mirror, ending, now))

    def recover(self, active: Active, ending: Ending, now: float) -> bool:
        """Record the end of a run whose process has died: False if it has begun or ended since `active` was read."""
        with transaction(self._db):
            row = self.runs.row(active.id)
            if row is None or (row["status"] != active.status and active.status == LAUNCHING):
                return False
            return self.record_end(active.id, active.mirror, ending, now)

    def give_reason_to_stop(self, mirrors: list[str], reason: str) -> None:
        """Record why active runs are about to be stopped: it becomes the reason of their ends."""
        with transaction(self._db):
            self.mirrors.give_reason_to_stop(mirrors, masked(reason))

    def probed(self, mirror: str, probe: Probe, now: float) -> None:
        """Record the result of a mirror's comparison with its upstream."""
        with transaction(self._db):
            probe = probe._replace(problem=masked(probe.problem))
            self.mirrors.update(mirror, {"probe": json.dumps(probe._asdict()), "probed_at": now})
            self.outbox.report(mirror, now)

    def schedule(self, times: Mapping[str, float], new: Iterable[Subject], now: float) -> None:
        """Report when mirrors run next, as decided at `now`, unless a run or an operator has come first since.

        `new` are those of them without a state.
        """
        with transaction(self._db):
            for subject in new:
                if self.mirrors.row(subject.name) is None:
                    self.mirrors.put(subject, NONE)
                    self.mirrors.show_override(subject.name)
            for mirror, at in times.items():
                row = self.mirrors.row(mirror)
                if row and row["status"] not in WITHOUT_NEXT_RUN and (row["last_ended_at"] or 0.0) <= now:
                    self.mirrors.update(mirror, {"next_run_at": at})
                    self.outbox.report(mirror, now)

    def unschedule(self, besides: Collection[str], now: float) -> None:
        """Report for all mirrors `besides` these, which are planned, that they have no next run."""
        with transaction(self._db):
            for mirror in sorted(self.mirrors.with_next_run().difference(besides)):
                self.mirrors.update(mirror, {"next_run_at": None})
                self.outbox.report(mirror, now)

    def forget(self, mirror: str, now: float) -> bool:
        """Remove the state, the history and the overrides of a mirror, which the manager learns by a snapshot.

        Return False, and change nothing, if the mirror has a run.
        """
        with transaction(self._db):
            if any(active.mirror == mirror for active in self.active()):
                return False
            self.mirrors.delete(mirror)
            self.runs.delete(mirror)
            self.overrides.delete(mirror)
            self.outbox.snapshot(self.outbox.acknowledged(), now)
        return True

    def give_back(self) -> None:
        """Return disk space that delivered reports no longer use."""
        from runner.journal import unused_space  # the courier alone needs it

        unused_space.give_back(self._db)

    # Parts of transactions

    def _correct_success(self, mirror: str, now: float) -> None:
        """Let a success that a wrong clock dated into the future count as of now.

        Its real time is unknown, and without this a mirror whose runs fail would seem up to date until that day.
        """
        row = self.mirrors.row(mirror)
        at = row["last_success_at"] if row else None
        if at is not None and at > now + RECOVERY_DELAY:
            from schemas.units import format_duration

            ahead = format_duration(at - now)
            what = f"its last success is dated {ahead} ahead: the clock was wrong, so it counts as of now"
            log(what, about=mirror, level=WARNING)
            self.mirrors.update(mirror, {"last_success_at": now})

    def record_end(self, run: int, mirror: str, ending: Ending, now: float) -> bool:
        """Record how a run ended, unless that is recorded already; part of the caller's transaction."""
        from runner.journal import last_success

        row, before = self.runs.row(run), self.mirrors.row(mirror)
        if row is None or row["status"] in ENDS:
            return False
        held = self.overrides.kind(mirror)
        ending = with_cause(storable(ending), held, before["told"] if before else "")
        begun = row["started_at"] if row["started_at"] is not None else row["launched_at"]
        attempts = max(row["attempts"], ending.attempts)  # crash recovery does not know how many there were
        times = {"attempts": attempts, "ended_at": now, "duration": max(0.0, now - begun)}
        self.runs.update(run, columns_of(ending) | times)
        figures = LogFigures(ending.size, ending.files, ending.by_name, ending.transferred)
        figures = figures if attempts <= 1 else figures.of_several_attempts()
        follows = figures.by_name and self.runs.follows_success(mirror, run)
        counted = _failures_after(before, ending)
        fields = {
            "run": run, "status": held or ending.status, "last_ended_at": now, "failures": counted.failures,
            "unreached": counted.unreached, "next_run_at": ending.next_run_at, "told": "", "next_attempt_at": None,
        }  # fmt: skip
        if ending.status == SUCCESS:
            fields["last_success_at"] = now
        if ending.died and before and before["uncounted_since"] is None:
            fields["uncounted_since"] = row["started_at"]  # None if it never began
        fields |= sizes.columns_after(before, ending.status, figures, follows_success=follows)
        fields |= last_success.columns_after(ending.left, succeeded=ending.status == SUCCESS)
        self.mirrors.update(mirror, fields)
        if ending.status == SUCCESS and ending.by_name and ending.on_disk is not None:
            self.mirrors.correct_size(mirror, ending.on_disk, ending.size, now)
        # After the columns: the report is made of the rows as they are now.
        self.runs.report_end(self.outbox.report_end(mirror, now), [run])
        self.runs.delete_old(mirror, KEPT_RUNS)
        return True

    def _may_wait(self, mirror: str, now: float) -> bool:
        """Return whether a mirror that was due at `now` does not wait yet and had no run since."""
        row = self.mirrors.row(mirror)
        return row is None or (row["status"] != QUEUED and (row["last_ended_at"] or 0.0) <= now)

    def _grant(self, mirror: str, *, forced: bool) -> None:
        self.overrides.grant(mirror)
        self.mirrors.update(mirror, {"forced": forced, "told": ""})


def _failures_after(mirror: Mapping[str, Any] | None, ending: Ending) -> State:
    """Return the state with its count of failures after that end; `mirror` is the row before."""
    before = State(NONE)
    if mirror:
        before = State(mirror["status"], failures=mirror["failures"], unreached=mirror["unreached"])
    return count_failures(before, ending.status, unreached=ending.unreached)
