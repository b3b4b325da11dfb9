"""The journal: states, runs and the outbox in one SQLite file; `runner/overrides/override_store.py` has what is wanted.

A change of state and the report that tells it are one transaction, so the manager can never know something that is
not so, nor miss something that is.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from runner.base.output import log, masked
from runner.journal import sqlite_file
from runner.journal.last_success import Left, Past
from runner.journal.sizes import Sizes, Told
from runner.journal.sqlite_file import marks, transaction
from runner.plan.plan import Planned
from runner.plan.schedule import RECOVERY_DELAY, OperatorRequest, State, count_failures
from schemas.report import HIGHEST, Probe, decode_probe
from schemas.standard_streams import WARNING
from schemas.states import (
    ACTIVE,
    DISABLED,
    ENDS,
    INTERRUPTED,
    LAUNCHING,
    NONE,
    PAUSED,
    PRE_SYNCING,
    QUEUED,
    STOPPED,
    SUCCESS,
)

KEPT_RUNS = 100
"""Ended runs kept for each mirror, once the manager knows them."""

_STATE = ", ".join(State._fields)

_NOT_PROBED = ACTIVE | {PAUSED, DISABLED}

_NOTHING_DELETED = {"deleted_files": 0, "deleted_bytes": 0, "deleting": ""}


class Subject(NamedTuple):
    """The mirror that a run is about, as reports show it."""

    name: str
    upstream: str
    is_master: bool
    revision: str

    @classmethod
    def of(cls, planned: Planned) -> "Subject":
        """What reports show of a mirror of the plan."""
        mirror = planned.mirror
        return cls(mirror.name, mirror.upstream, mirror.role == "master", planned.revision)


class Ending(NamedTuple):
    """How a run ended, and what is known of it; `next_run_at` is when the mirror is due again.

    `left` is what it left in the directory, None when it never worked there. With `by_name` the size is a sum over
    names, in which a file with several of them counts several times, and `transferred` the bytes of the files that
    came or changed. `unreached` says that it failed because the
    upstream could not be reached or had no connection left, and may be tried again early.
    """

    status: str
    reason: str = ""
    exit_code: int | None = None
    attempts: int = 0
    bytes: int | None = None
    files: int | None = None
    size: int | None = None
    log_tail: str = ""
    next_run_at: float | None = None
    left: Left | None = None
    by_name: bool = False
    transferred: int | None = None
    unreached: bool = False


def _storable(ending: Ending) -> Ending:
    """The end with figures that the journal can hold, since an upstream may claim any, and without secrets."""
    figures = (ending.bytes, ending.files, ending.size)
    most = [None if figure is None else min(figure, HIGHEST) for figure in figures]
    return ending._replace(reason=masked(ending.reason), bytes=most[0], files=most[1], size=most[2])


class Released(NamedTuple):
    """When a held worker was released, in seconds since 1970 UTC, and by whom."""

    at: float
    made_by: str


class Active(NamedTuple):
    """A run that has, or should have, a process."""

    id: int
    mirror: str
    status: str
    launched_at: float


@contextmanager
def opened(path: str) -> Iterator["Journal"]:
    """Open the journal, made or brought to this version's tables when needed; SkipjackError when it cannot be."""
    with sqlite_file.opened(path) as connection:
        yield Journal(connection)


@contextmanager
def copied(path: str) -> Iterator["Journal"]:
    """A copy of the journal, for who must not change it; see `database.copied`."""
    with sqlite_file.copied(path) as connection:
        yield Journal(connection)


class Journal(Sizes):
    """An open journal. Every method that writes is one durable transaction, with the reports of what it changes."""

    # What is so

    def states(self) -> dict[str, State]:
        """Every mirror's state by name."""
        query = f"SELECT name, {_STATE} FROM mirror"  # noqa: S608 - own columns
        return {row[0]: State(*row[1:]) for row in self._db.execute(query)}

    def past(self, mirror: str) -> Past:
        """What earlier runs left in a mirror's directory."""
        columns = (
            "last_success_at, files_in, size, emptied, accepted_files, accepted_bytes, loss_refused,"
            " deleted_files, deleted_bytes, deleting, first_look, counted, accepted_on_disk"
        )
        row = self._db.execute(f"SELECT {columns} FROM mirror WHERE name = ?", (mirror,)).fetchone()  # noqa: S608 - own columns
        if row is None:
            return Past()
        past = Past(*row)
        return past._replace(counted=bool(past.counted) and self._last_end(mirror) == SUCCESS)

    def _last_end(self, mirror: str) -> str:
        """How the run before the one under way ended, or the last one where none is; empty when there was none."""
        query = f"SELECT status FROM run WHERE mirror = ? AND status IN ({marks(ENDS)}) ORDER BY id DESC LIMIT 1"  # noqa: S608 - marks
        row = self._db.execute(query, (mirror, *sorted(ENDS))).fetchone()
        return row["status"] if row else ""

    def first_look(self, mirror: str, upstream: str, files: int, size: int, on_disk: int | None = None) -> None:
        """Record what a mirror that has no accepted success is compared with, until it has one.

        SkipjackError when a disk has no room for it: then the run would have nothing to be compared with.
        """
        seen = {"accepted_files": files, "accepted_bytes": size, "first_look": upstream, "counted": 0}
        seen |= {"accepted_on_disk": on_disk}
        with sqlite_file.or_failed("cannot keep in the journal what a directory holds"), transaction(self._db):
            self._update("mirror", seen, "name", mirror)

    def start_anew(self, mirror: str) -> None:
        """Record that the operator lets a mirror begin in an empty directory, until the next success."""
        forgotten = {"files_in": "", "emptied": None, "accepted_files": None, "accepted_bytes": None, "loss_refused": 0}
        forgotten |= {"accepted_on_disk": None, "first_look": "", "counted": 0}
        with transaction(self._db):
            self._update("mirror", forgotten | _NOTHING_DELETED, "name", mirror)

    def deleting(self, mirror: str, token: str, files: int, size: int) -> None:
        """Record files and their bytes before they are deleted, under a token that `deleted_less` asks for.

        SkipjackError when a disk has no room for it: then nothing may be deleted.
        """
        change = (
            "UPDATE mirror SET deleted_files = deleted_files + ?1, deleted_bytes = min(deleted_bytes + ?2, ?3),"
            " deleting = ?4 WHERE name = ?5"
        )
        with sqlite_file.or_failed("cannot count deletions in the journal"), transaction(self._db):
            self._db.execute(change, (files, min(size, HIGHEST), HIGHEST, token, mirror))

    def deleted_less(self, mirror: str, token: str, files: int, size: int) -> None:
        """Take back, once, what of the deletions of that token was not made."""
        change = (
            "UPDATE mirror SET deleted_files = max(0, deleted_files - ?), deleted_bytes = max(0, deleted_bytes - ?),"
            " deleting = '' WHERE name = ? AND deleting = ?"
        )
        with sqlite_file.or_failed("cannot correct the count of deletions in the journal"), transaction(self._db):
            self._db.execute(change, (files, min(size, HIGHEST), mirror, token))

    def state(self, mirror: str) -> State:
        """The state of one mirror that began a run."""
        query = f"SELECT {_STATE} FROM mirror WHERE name = ?"  # noqa: S608 - own columns
        return State(*self._db.execute(query, (mirror,)).fetchone())

    def operator_requests(self) -> dict[str, OperatorRequest]:
        """What somebody wants of mirrors, by name: overrides that hold, and starts that have not begun."""
        orders = {
            row[0]: OperatorRequest(*row[1:])
            for row in self._db.execute("SELECT mirror, kind, 0, 0, made_at, made_by, reason FROM override")
        }
        for row in self._db.execute("SELECT mirror, force, made_at, made_by FROM request"):
            order = OperatorRequest(requested=True, force=bool(row[1]), made_at=row[2], made_by=row[3])
            orders.setdefault(row[0], order)
        return orders

    def active(self) -> list[Active]:
        """The runs that have, or should have, a process."""
        query = f"SELECT id, mirror, status, launched_at FROM run WHERE status IN ({marks(ACTIVE)})"  # noqa: S608 - marks
        return [Active(*row) for row in self._db.execute(query, sorted(ACTIVE))]

    def released(self) -> Released | None:
        """When the worker was released from `start: held`, None if it never was."""
        row = self._db.execute("SELECT at, made_by FROM released").fetchone()
        return Released(*row) if row else None

    def is_launched(self, mirror: str) -> bool:
        """Whether a run of the mirror was launched and has not begun yet."""
        return any(active.mirror == mirror and active.status == LAUNCHING for active in self.active())

    # What happens

    def launch(
        self, subjects: list[Subject], waiting: list[Subject], now: float, *, by_request: bool = False
    ) -> dict[str, int]:
        """Record that runs are launched and that others wait for a slot; gives the number of each launched run.

        A mirror that has an active run already is passed over: two ticks may have come to the same decision. So is
        one that was paused or disabled meanwhile, and of those that wait one whose run has ended since. A start that
        was asked for is thereby granted. `by_request` marks runs that a tick of requested starts alone began.
        """
        launched: dict[str, int] = {}
        if subjects:
            sqlite_file.hold_back(self._db)  # once for all that begin now
        with transaction(self._db):
            orders = self.operator_requests()
            busy = {active.mirror for active in self.active()} | {
                name for name, each in orders.items() if each.override
            }
            for subject in (each for each in subjects if each.name not in busy):
                launched[subject.name] = self._new_run(subject, LAUNCHING, now, by_request=by_request)
                self._set(subject, LAUNCHING)
                self._grant(subject.name, forced=subject.name in orders and orders[subject.name].force)
                self._report(subject.name, now)
            for subject in waiting:
                if subject.name not in busy and self._may_wait(subject.name, now):
                    self._set(subject, QUEUED)
                    self._report(subject.name, now)
        return launched

    def queue(self, launched: int | None, subject: Subject, now: float) -> None:
        """Record that a mirror waits for a slot; its launched run, if any, never began and is forgotten.

        `launched` None is whichever run of the mirror was launched, or one that was asked for by hand. A run that
        somebody asked for by name stays so.
        """
        chosen = "FROM run WHERE mirror = ?1 AND status = ?2 AND id = coalesce(?3, id)"
        values = (subject.name, LAUNCHING, launched)
        with transaction(self._db):
            row = self._db.execute(f"SELECT by_request {chosen}", values).fetchone()
            asked = bool(row["by_request"]) if row else launched is None
            if asked and not self._held(subject.name):
                request = "INSERT OR IGNORE INTO request VALUES (?, 0, ?, 'whoever ran it')"
                self._db.execute(request, (subject.name, now))
            self._db.execute(f"DELETE {chosen}", values)
            self._set(subject, QUEUED)
            self._report(subject.name, now)

    def requeue(self, active: Active, now: float) -> None:
        """Record that a launched run never began through no fault of its own, and waits to be launched again."""
        with transaction(self._db):
            if self._db.execute("DELETE FROM run WHERE id = ? AND status = ?", (active.id, LAUNCHING)).rowcount:
                self._db.execute("UPDATE mirror SET status = ? WHERE name = ?", (QUEUED, active.mirror))
                again = "INSERT OR IGNORE INTO request SELECT name, 1, ?, 'whoever forced it' FROM mirror"
                self._db.execute(f"{again} WHERE name = ? AND forced", (active.launched_at, active.mirror))
                self._report(active.mirror, now)

    def begin(self, launched: int | None, subject: Subject, now: float) -> int | None:
        """Record that a run begins, by one who holds the mirror's locks: the launched one, or for None a new one.

        Gives its number, or None when the launched run is no longer expected (it was given up, or somebody who was
        faster has taken its place), or the mirror was paused or disabled. Other runs of the mirror that seem active
        are dead, since their locks are free.
        """
        sqlite_file.hold_back(self._db)
        with transaction(self._db):
            if self._held(subject.name):
                return None
            for active in [each for each in self.active() if each.mirror == subject.name and each.id != launched]:
                if launched is None and active.status == LAUNCHING:
                    launched = active.id
                else:
                    self._end(active.id, subject.name, Ending(INTERRUPTED, "the run's process is gone"), now)
            run = self._new_run(subject, LAUNCHING, now, by_request=True) if launched is None else launched
            changed = self._db.execute(
                "UPDATE run SET status = ?, started_at = ?, revision = ? WHERE id = ? AND status = ?",
                (PRE_SYNCING, now, subject.revision, run, LAUNCHING),
            ).rowcount
            if not changed:
                return None
            self._set(subject, PRE_SYNCING, run=run)
            if launched is None:  # asked for by hand, and not for the tick to end
                self._grant(subject.name, forced=True)
            self._db.execute("UPDATE mirror SET last_started_at = ? WHERE name = ?", (now, subject.name))
            self._correct_success(subject.name, now)
            self._report(subject.name, now)
        return run

    def is_forced(self, mirror: str) -> bool:
        """Whether a run of the mirror was launched that may take a slot beyond those of the worker."""
        row = self._db.execute("SELECT forced, status FROM mirror WHERE name = ?", (mirror,)).fetchone()
        return row is not None and row["status"] == LAUNCHING and bool(row["forced"])

    def was_requested(self, mirror: str) -> bool:
        """Whether the newest run of the mirror was asked for by name, by hand or by a start request, where nothing
        else was to be started."""
        query = "SELECT by_request FROM run WHERE mirror = ? ORDER BY id DESC LIMIT 1"
        row = self._db.execute(query, (mirror,)).fetchone()
        return row is not None and bool(row["by_request"])

    def attempt(
        self, run: int, mirror: str, status: str, attempts: int, now: float, identity: int | None = None
    ) -> None:
        """Record that an attempt begins. If that has no room, it begins all the same: its end tells the number.

        `identity` is the directory's, which a run that is killed may leave empty.
        """
        with sqlite_file.if_there_is_room(self._db):
            self._update("run", {"status": status, "attempts": attempts, "reason": ""}, "id", run)
            self._update("mirror", {"status": status, "emptied": identity, "next_attempt_at": None}, "name", mirror)
            self._report(mirror, now)

    def wait_between_attempts(self, run: int, mirror: str, until: float, reason: str, now: float) -> None:
        """Record that a run has given up its slot and wants one again for its next attempt at that moment.

        `reason` says why there is another attempt. If that has no room, the slot is not given to anybody else.
        """
        with sqlite_file.if_there_is_room(self._db):
            self._update("run", {"status": PRE_SYNCING, "reason": masked(reason)}, "id", run)
            self._update("mirror", {"status": PRE_SYNCING, "next_attempt_at": until}, "name", mirror)
            self._report(mirror, now)

    def claim_slot(self, mirror: str, slots: int) -> bool:
        """Record that a run that waited has one of so many slots again; False when none is free."""
        free = True
        with sqlite_file.if_there_is_room(self._db):
            free = self.busy_slots(mirror) < slots
            if free:
                self._update("mirror", {"next_attempt_at": None}, "name", mirror)
        return free

    def return_slot(self, mirror: str, now: float) -> None:
        """Record that a run waits for a slot after all, since the one that it claimed could not be locked."""
        with sqlite_file.if_there_is_room(self._db):
            self._update("mirror", {"next_attempt_at": now}, "name", mirror)

    def waiting_runs(self) -> int:
        """How many runs are between two attempts without a slot."""
        return self._count_active("next_attempt_at IS NOT NULL")

    def busy_slots(self, besides: str = "") -> int:
        """How many runs have a slot, besides that mirror's."""
        return self._count_active("next_attempt_at IS NULL AND name <> ?", besides)

    def _count_active(self, condition: str, *values: str) -> int:
        """Count the mirrors with a run under way, without looking at any other one: thousands may be at rest."""
        active = f"run CROSS JOIN mirror ON name = run.mirror WHERE run.status IN ({marks(ACTIVE)})"
        query = f"SELECT count(DISTINCT name) FROM {active} AND {condition}"  # noqa: S608 - marks, own conditions
        return int(self._db.execute(query, (*sorted(ACTIVE), *values)).fetchone()[0])

    def end(self, run: int, mirror: str, ending: Ending, now: float) -> bool:
        """Record how a run ended, once: False when an end stands there already. A full disk has room for it."""
        return sqlite_file.with_room(self._db, lambda: self._end(run, mirror, ending, now))

    def settle(self, active: Active, ending: Ending, now: float) -> bool:
        """Record the end of a run that was found dead: False when it has begun or ended since it was looked at."""
        with transaction(self._db):
            row = self._db.execute("SELECT status FROM run WHERE id = ?", (active.id,)).fetchone()
            if row is None or (row["status"] != active.status and active.status == LAUNCHING):
                return False
            return self._end(active.id, active.mirror, ending, now)

    def probes_due(self, files: Mapping[str, str], now: float, every: float) -> list[str]:
        """Of the mirrors with these files to compare those at rest that had a success since they were probed, were not
        for `every` seconds, or only with another file."""
        query = (
            "SELECT name, status, json_extract(probe, '$.file'), probed_at IS NULL OR probed_at < last_success_at"
            " OR abs(? - probed_at) >= ? FROM mirror WHERE last_success_at IS NOT NULL ORDER BY probed_at"
        )
        return [
            name
            for name, status, file, is_due in self._db.execute(query, (now, every))
            if name in files and status not in _NOT_PROBED and (is_due or file not in (None, files[name]))
        ]

    def probe(self, mirror: str) -> Probe | None:
        """What was last found when a mirror was compared with its upstream."""
        row = self._db.execute("SELECT probe FROM mirror WHERE name = ?", (mirror,)).fetchone()
        return decode_probe(json.loads(row["probe"])) if row and row["probe"] else None

    def probed(self, mirror: str, probe: Probe, now: float) -> None:
        """Record what was found when a mirror was compared with its upstream."""
        with transaction(self._db):
            probe = probe._replace(problem=masked(probe.problem))
            self._update("mirror", {"probe": json.dumps(probe._asdict()), "probed_at": now}, "name", mirror)
            self._report(mirror, now)

    def tell(self, mirrors: list[str], reason: str) -> None:
        """Record why runs under way are about to be told to stop: it becomes the reason of their ends."""
        with transaction(self._db):
            self._tell(mirrors, reason)

    # Parts of transactions

    def _correct_success(self, mirror: str, now: float) -> None:
        """Let a success that a wrong clock dated into the future count as of now: nobody knows when it really was, and
        else a mirror whose runs fail from then on would pass for up to date until that day."""
        row = self._db.execute("SELECT last_success_at FROM mirror WHERE name = ?", (mirror,)).fetchone()
        if row["last_success_at"] is not None and row["last_success_at"] > now + RECOVERY_DELAY:
            from schemas.units import format_duration

            ahead = format_duration(row["last_success_at"] - now)
            what = f"its last success is dated {ahead} ahead: the clock was wrong, so it counts as of now"
            log(what, about=mirror, level=WARNING)
            self._update("mirror", {"last_success_at": now}, "name", mirror)

    def _end(self, run: int, mirror: str, ending: Ending, now: float) -> bool:
        columns = "status, started_at, launched_at, attempts"
        held = self._held(mirror)
        ending = self._as_told(mirror, _storable(ending), held)
        row = self._db.execute(f"SELECT {columns} FROM run WHERE id = ?", (run,)).fetchone()  # noqa: S608 - own columns
        if row is None or row["status"] in ENDS:
            return False
        begun = row["started_at"] if row["started_at"] is not None else row["launched_at"]
        fields = ending._asdict() | {"ended_at": now, "duration": max(0.0, now - begun)}
        fields["attempts"] = max(row["attempts"], ending.attempts)  # whoever finds it dead does not know how many
        state = {"run": run, "status": held or ending.status, "last_ended_at": now}
        del fields["unreached"]
        counted = self._counted(mirror, ending)
        state |= {"failures": counted.failures, "unreached": counted.unreached}
        state |= {"next_run_at": fields.pop("next_run_at"), "told": "", "next_attempt_at": None}
        left: Left | None = fields.pop("left")
        told = Told(ending.size, ending.files, fields.pop("by_name"), fields.pop("transferred"))
        state |= self._with_size(mirror, run, ending.status, told if fields["attempts"] <= 1 else told.of_many())
        if left is not None:
            state["emptied"] = left.emptied
            if left.refused:
                state["loss_refused"] = True
        if left is not None and ending.status == SUCCESS:
            state |= {"files_in": left.files_in, "accepted_files": left.files, "accepted_bytes": left.bytes}
            state |= _NOTHING_DELETED | {"loss_refused": False, "first_look": "", "counted": left.counted}
            state["accepted_on_disk"] = left.on_disk
        self._update("run", fields, "id", run)
        if ending.status == SUCCESS:
            state["last_success_at"] = now
        self._update("mirror", state, "name", mirror)
        number = self._report_end(mirror, now)
        self._db.execute("UPDATE run SET end_number = ? WHERE id = ?", (number, run))
        self._forget_old_runs(mirror)
        return True

    def _as_told(self, mirror: str, ending: Ending, held: str) -> Ending:
        """What cut a run off, when somebody said so; only a recorded override makes it a stop by an operator."""
        if ending.status != INTERRUPTED:
            return ending._replace(next_run_at=None) if held else ending
        row = self._db.execute("SELECT told FROM mirror WHERE name = ?", (mirror,)).fetchone()
        reason = (row["told"] if row else "") or ending.reason
        if not held:
            return ending._replace(reason=reason)
        return ending._replace(status=STOPPED, reason=reason, next_run_at=None)

    def _may_wait(self, mirror: str, now: float) -> bool:
        """Whether a mirror does not wait yet and had no run since that moment, when it was found to be due."""
        row = self._db.execute("SELECT status, last_ended_at FROM mirror WHERE name = ?", (mirror,)).fetchone()
        return row is None or (row["status"] != QUEUED and (row["last_ended_at"] or 0.0) <= now)

    def _held(self, mirror: str) -> str:
        row = self._db.execute("SELECT kind FROM override WHERE mirror = ?", (mirror,)).fetchone()
        return row["kind"] if row else ""

    def _counted(self, mirror: str, ending: Ending) -> State:
        """The mirror's state with its failures in a row as they are after that end."""
        query = "SELECT status, failures, unreached FROM mirror WHERE name = ?"
        row = self._db.execute(query, (mirror,)).fetchone()
        before = State(row["status"], failures=row["failures"], unreached=row["unreached"]) if row else State(NONE)
        return count_failures(before, ending.status, unreached=ending.unreached)

    def _grant(self, mirror: str, *, forced: bool) -> None:
        self._db.execute("DELETE FROM request WHERE mirror = ?", (mirror,))
        self._db.execute("UPDATE mirror SET forced = ?, told = '' WHERE name = ?", (forced, mirror))

    def _tell(self, mirrors: list[str], reason: str) -> None:
        query = "UPDATE mirror SET told = ? WHERE name = ? AND told = ''"
        self._db.executemany(query, [(masked(reason), mirror) for mirror in mirrors])

    def _new_run(self, subject: Subject, status: str, now: float, *, by_request: bool) -> int:
        cursor = self._db.execute(
            "INSERT INTO run (mirror, status, launched_at, revision, by_request) VALUES (?, ?, ?, ?, ?)",
            (subject.name, status, now, subject.revision, by_request),
        )
        return int(cursor.lastrowid or 0)

    def _set(self, subject: Subject, status: str, *, run: int | None = None) -> None:
        self._db.execute(
            "INSERT INTO mirror (name, upstream, is_master, status, run) VALUES (?1, ?2, ?3, ?4, ?5)"
            " ON CONFLICT (name) DO UPDATE SET upstream = ?2, is_master = ?3, status = ?4, run = coalesce(?5, run)",
            (subject.name, subject.upstream, subject.is_master, status, run),
        )

    def _update(self, table: str, fields: dict[str, Any], key: str, value: int | str) -> None:
        columns = ", ".join(f"{name} = ?" for name in fields)
        self._db.execute(f"UPDATE {table} SET {columns} WHERE {key} = ?", (*fields.values(), value))  # noqa: S608 - own columns

    def _forget_old_runs(self, mirror: str) -> None:
        self._db.execute(
            "DELETE FROM run WHERE mirror = ?1 AND end_number <= (SELECT acknowledged FROM identity)"
            " AND id <= (SELECT id FROM run WHERE mirror = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            (mirror, KEPT_RUNS),
        )
