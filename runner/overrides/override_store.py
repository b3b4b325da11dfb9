"""The order book: the journal as those use it who want something of mirrors.

Overrides hold until they are lifted, a request until a run begins; a run looks at both by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from runner.base.output import masked
from runner.journal import sqlite_file
from runner.journal.journal import Ending, Journal, Released, Subject
from runner.journal.sqlite_file import marks, transaction
from schemas.states import ACTIVE, DISABLED, INTERRUPTED, LAUNCHING, NONE, PAUSED


@contextmanager
def opened(path: str) -> Iterator["OrderBook"]:
    """Open the journal for orders, as `journal.opened` does."""
    with sqlite_file.opened(path) as connection:
        yield OrderBook(connection)


class OrderBook(Journal):
    """An open journal that takes orders. Every method that writes is one durable transaction, with its reports."""

    def override(self, subjects: list[Subject], kind: str, made_by: str, now: float, *, reason: str = "") -> list[str]:
        """Pause or disable mirrors; gives those that have a run under way, whose end will say that it was stopped."""
        made_by, reason = masked(made_by), masked(reason)
        words = f"{kind} by {made_by}" + (f": {reason}" if reason else "")
        with transaction(self._db):
            for subject in subjects:
                self._db.execute("DELETE FROM request WHERE mirror = ?", (subject.name,))
                row = (subject.name, kind, now, made_by, reason)
                self._db.execute("INSERT OR REPLACE INTO override VALUES (?, ?, ?, ?, ?)", row)
            names = {subject.name for subject in subjects}
            for active in self.active():
                if active.mirror in names and active.status == LAUNCHING:  # it will find that it is not expected
                    self._end(active.id, active.mirror, Ending(INTERRUPTED, words), now)
            begun = [active.mirror for active in self.active() if active.mirror in names]
            for subject in subjects:
                if subject.name not in begun:
                    self._set(subject, kind)
                    self._update("mirror", {"next_run_at": None}, "name", subject.name)
                    self._report(subject.name, now)
            self._tell(begun, words)
        return begun

    def end_for_good(self, mirrors: list[str], reason: str, now: float) -> None:
        """Record why the runs under way of mirrors are ended that this worker no longer has; nothing is paused."""
        with transaction(self._db):
            for active in self.active():
                if active.mirror in mirrors and active.status == LAUNCHING:  # it will find that it is not expected
                    self._end(active.id, active.mirror, Ending(INTERRUPTED, reason), now)
            self._tell(mirrors, reason)

    def lift(self, subjects: list[Subject], now: float) -> None:
        """Let paused and disabled mirrors follow their schedule again."""
        with transaction(self._db):
            self._lift(subjects, now)

    def request(
        self, subjects: list[Subject], made_by: str, now: float, *, force: bool = False, again: bool = False
    ) -> list[str]:
        """Ask for a start of mirrors, which also lifts what holds them; gives those that have a run under way.

        Of those, only the ones that are to run `again` get a start for when that run has ended, as do those whose run
        was told to stop already.
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
        """Release a held worker, once for all; gives the release of before if there was one, and changes nothing."""
        with transaction(self._db):
            before = self.released()
            if before is None:
                self._db.execute("INSERT INTO released VALUES (?, ?)", (now, masked(made_by)))
        return before

    def hold(self) -> bool:
        """Take the release of a worker back; False when it was not released."""
        with transaction(self._db):
            return bool(self._db.execute("DELETE FROM released").rowcount)

    def to_be_ended(self) -> list[str]:
        """The mirrors whose runs under way somebody wants to end: whoever did may have died before telling them so."""
        query = "SELECT DISTINCT name FROM mirror JOIN run ON run.mirror = name WHERE told <> '' AND run.status IN"
        return [row[0] for row in self._db.execute(f"{query} ({marks(ACTIVE)})", sorted(ACTIVE))]

    # Parts of transactions

    def _lift(self, subjects: list[Subject], now: float) -> None:
        """Take overrides away; a mirror at rest shows again how its last run ended."""
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
