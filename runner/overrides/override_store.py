"""Overrides (paused, disabled) and start requests, in the journal.

An override holds until it is lifted, a start request until the run starts. A run reads both by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from runner.base.output import masked
from runner.journal import sqlite_file
from runner.journal.journal import Ending, Journal, Released, Subject
from runner.journal.sqlite_file import marks, transaction
from schemas.states import ACTIVE, DISABLED, INTERRUPTED, LAUNCHING, NONE, PAUSED


@contextmanager
def opened(path: str) -> Iterator["OverrideStore"]:
    """Open the journal for commands; errors as `journal.opened`."""
    with sqlite_file.opened(path) as connection:
        yield OverrideStore(connection)


class OverrideStore(Journal):
    """An open journal that takes commands. Each method that writes is one durable transaction, with its reports."""

    def override(self, subjects: list[Subject], kind: str, made_by: str, now: float, *, reason: str = "") -> list[str]:
        """Pause or disable mirrors; return those that have a run, whose end will have the reason."""
        made_by, reason = masked(made_by), masked(reason)
        words = f"{kind} by {made_by}" + (f": {reason}" if reason else "")
        with transaction(self._db):
            for subject in subjects:
                self._db.execute("DELETE FROM request WHERE mirror = ?", (subject.name,))
                row = (subject.name, kind, now, made_by, reason)
                self._db.execute("INSERT OR REPLACE INTO override VALUES (?, ?, ?, ?, ?)", row)
            names = {subject.name for subject in subjects}
            for active in self.active():
                if active.mirror in names and active.status == LAUNCHING:  # its process finds out when it starts
                    self._end(active.id, active.mirror, Ending(INTERRUPTED, words), now)
            begun = [active.mirror for active in self.active() if active.mirror in names]
            for subject in subjects:
                if subject.name not in begun:
                    self._set(subject, kind)
                    self._update("mirror", {"next_run_at": None}, "name", subject.name)
                    self._report(subject.name, now)
            self._tell(begun, words)
        return begun

    def end_removed(self, mirrors: list[str], reason: str, now: float) -> None:
        """Record why the runs of mirrors that this worker no longer has are ended. No mirror is paused."""
        with transaction(self._db):
            for active in self.active():
                if active.mirror in mirrors and active.status == LAUNCHING:  # its process finds out when it starts
                    self._end(active.id, active.mirror, Ending(INTERRUPTED, reason), now)
            self._tell(mirrors, reason)

    def lift(self, subjects: list[Subject], now: float) -> None:
        """Lift the overrides of mirrors, so that they follow their schedule again."""
        with transaction(self._db):
            self._lift(subjects, now)

    def request(
        self, subjects: list[Subject], made_by: str, now: float, *, force: bool = False, again: bool = False
    ) -> list[str]:
        """Request a start of mirrors, which also lifts their overrides; return those that have a run.

        A mirror that has a run gets no start request, unless it is to run `again` or its run is already being stopped.
        """
        made_by = masked(made_by)
        with transaction(self._db):
            self._lift(subjects, now)
            active = {each.mirror for each in self.active()} - (set() if again else self._ending())
            begun = [subject.name for subject in subjects if subject.name in active]
            for subject in subjects:
                if again or subject.name not in active:
                    row = (subject.name, force, now, made_by)
                    self._db.execute("INSERT OR REPLACE INTO request VALUES (?, ?, ?, ?)", row)
            if again:
                self._tell(begun, f"restarted by {made_by}")
        return begun

    def release(self, made_by: str, now: float) -> Released | None:
        """Release a held worker. If it was released before, return that release and change nothing."""
        with transaction(self._db):
            before = self.released()
            if before is None:
                self._db.execute("INSERT INTO released VALUES (?, ?)", (now, masked(made_by)))
        return before

    def hold(self) -> bool:
        """Take back the release of a worker; False when it was not released."""
        with transaction(self._db):
            return bool(self._db.execute("DELETE FROM released").rowcount)

    def runs_to_stop(self) -> list[str]:
        """Return the mirrors whose runs have to end: a command may have died before it signalled them."""
        query = "SELECT DISTINCT name FROM mirror JOIN run ON run.mirror = name WHERE told <> '' AND run.status IN"
        return [row[0] for row in self._db.execute(f"{query} ({marks(ACTIVE)})", sorted(ACTIVE))]

    # Parts of transactions

    def _lift(self, subjects: list[Subject], now: float) -> None:
        """Delete overrides. A mirror without a run shows the status of its last run again."""
        query = "SELECT run.status FROM mirror JOIN run ON run.id = mirror.run WHERE name = ?"
        for subject in subjects:
            held = self._db.execute("DELETE FROM override WHERE mirror = ?", (subject.name,)).rowcount
            row = self._db.execute("SELECT status FROM mirror WHERE name = ?", (subject.name,)).fetchone()
            if held and row is not None and row["status"] in (PAUSED, DISABLED):
                last = self._db.execute(query, (subject.name,)).fetchone()
                self._set(subject, last["status"] if last else NONE)
                self._report(subject.name, now)

    def _ending(self) -> set[str]:
        return {row[0] for row in self._db.execute("SELECT name FROM mirror WHERE told != ''")}
