"""The tables `in_force` and `pin`: which revisions this worker had in force, and to which it is pinned.

No other module writes them. Follow writes the first whenever it replaces the plan.
"""

import _sqlite3 as sqlite3  # without dates and times, which each run and tick would load
from typing import NamedTuple

from runner.plan.plan import Header, Pin

KEPT = 50
"""Revisions that are remembered."""


class RevisionInForce(NamedTuple):
    """A revision and when it was in force, in seconds since 1970 UTC; `until` is None for the present one.

    `signer` and `signing_key` are those that were verified then; empty if nothing was.
    """

    commit: str
    since: float
    until: float | None = None
    signer: str = ""
    signing_key: str = ""


class RevisionTable:
    """The rows of both tables. The caller makes the transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def in_force(self) -> list[RevisionInForce]:
        """Return the revisions that were in force, the present one first."""
        query = "SELECT name, since, until, signer, signing_key FROM in_force ORDER BY number DESC"
        return [RevisionInForce(*row) for row in self._db.execute(query)]

    def remember(self, header: Header, since: float) -> None:
        """Record that the revision of a plan is in force since then, unless it is recorded already."""
        newest = self._db.execute("SELECT name FROM in_force ORDER BY number DESC LIMIT 1").fetchone()
        if not header.revision or (newest and newest[0] == header.revision):
            return
        self._db.execute("UPDATE in_force SET until = ? WHERE until IS NULL", (since,))
        row = (header.revision, since, header.signer, header.signing_key)
        self._db.execute("INSERT INTO in_force (name, since, signer, signing_key) VALUES (?, ?, ?, ?)", row)
        self._db.execute("DELETE FROM in_force WHERE number <= (SELECT max(number) FROM in_force) - ?", (KEPT,))

    def pin(self) -> Pin | None:
        """Return the pin, which may be over; None if there is none."""
        row = self._db.execute("SELECT name, until, made_at, made_by, reason FROM pin").fetchone()
        return Pin(*row) if row else None

    def set_pin(self, pin: Pin | None) -> None:
        """Replace the pin; None removes it."""
        self._db.execute("DELETE FROM pin")
        if pin:
            self._db.execute("INSERT INTO pin VALUES (?, ?, ?, ?, ?)", pin)
