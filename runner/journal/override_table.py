"""The tables `override`, `request` and `released`: what operators asked for. No other module writes them.

An override holds until it is lifted, a start request until a run begins.
"""

import _sqlite3 as sqlite3  # without dates and times, which each run and tick would load
from typing import NamedTuple

from runner.plan.schedule import OperatorRequest
from schemas.report import Override


class Released(NamedTuple):
    """When a held worker was released, in seconds since 1970 UTC, and by whom."""

    at: float
    made_by: str


class OverrideTable:
    """The rows of the three tables. The caller makes the transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def all(self) -> dict[str, OperatorRequest]:
        """Return what operators asked for by mirror: overrides, and starts that have not begun."""
        query = "SELECT mirror, kind, 0, 0, made_at, made_by, reason FROM override"
        found = {row[0]: OperatorRequest(*row[1:]) for row in self._db.execute(query)}
        for row in self._db.execute("SELECT mirror, force, made_at, made_by FROM request"):
            start = OperatorRequest(requested=True, force=bool(row[1]), made_at=row[2], made_by=row[3])
            # An override takes back a start request, so it counts if there should be both.
            found.setdefault(row[0], start)
        return found

    def kind(self, mirror: str) -> str:
        """Return a mirror's override, `paused` or `disabled`; empty without one."""
        row = self._db.execute("SELECT kind FROM override WHERE mirror = ?", (mirror,)).fetchone()
        return row["kind"] if row else ""

    def reported(self, mirror: str) -> Override | None:
        """Return a mirror's override as reports have it."""
        # The length that reports allow, see OVERRIDE_BOUNDS.
        query = "SELECT kind, made_at, substr(made_by, 1, 200), reason FROM override WHERE mirror = ?"
        row = self._db.execute(query, (mirror,)).fetchone()
        return Override(*row) if row else None

    def override(self, mirror: str, kind: str, now: float, made_by: str, reason: str) -> None:
        """Pause or disable a mirror, which takes back a start request."""
        self.grant(mirror)
        self._db.execute("INSERT OR REPLACE INTO override VALUES (?, ?, ?, ?, ?)", (mirror, kind, now, made_by, reason))

    def lift(self, mirror: str) -> bool:
        """Remove a mirror's override; False if it has none."""
        return bool(self._db.execute("DELETE FROM override WHERE mirror = ?", (mirror,)).rowcount)

    def request(self, mirror: str, now: float, made_by: str, *, force: bool) -> None:
        """Request a start, in place of an earlier request."""
        self._db.execute("INSERT OR REPLACE INTO request VALUES (?, ?, ?, ?)", (mirror, force, now, made_by))

    def renew_request(self, mirror: str, now: float, made_by: str, *, force: bool) -> None:
        """Request a start again whose run could not begin; an earlier request stays as it is."""
        self._db.execute("INSERT OR IGNORE INTO request VALUES (?, ?, ?, ?)", (mirror, force, now, made_by))

    def grant(self, mirror: str) -> None:
        """Remove a start request, as its run begins."""
        self._db.execute("DELETE FROM request WHERE mirror = ?", (mirror,))

    def released(self) -> Released | None:
        """Return when the worker was released from `start: held`; None if it was not."""
        row = self._db.execute("SELECT at, made_by FROM released").fetchone()
        return Released(*row) if row else None

    def release(self, now: float, made_by: str) -> None:
        """Record a release."""
        self._db.execute("INSERT INTO released VALUES (?, ?)", (now, made_by))

    def hold(self) -> bool:
        """Remove the release; False if there was none."""
        return bool(self._db.execute("DELETE FROM released").rowcount)

    def rename(self, old: str, name: str) -> None:
        """Give the new name the override and the request of the old one, unless it has one of the other kind."""
        if not self._db.execute("SELECT 1 FROM request WHERE mirror = ?", (name,)).fetchone():
            self._db.execute("UPDATE OR IGNORE override SET mirror = ? WHERE mirror = ?", (name, old))
        if not self._db.execute("SELECT 1 FROM override WHERE mirror = ?", (name,)).fetchone():
            self._db.execute("UPDATE OR IGNORE request SET mirror = ? WHERE mirror = ?", (name, old))

    def delete(self, mirror: str) -> None:
        """Remove a mirror's override and start request."""
        self.lift(mirror)
        self.grant(mirror)
