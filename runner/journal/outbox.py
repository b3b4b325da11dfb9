"""The outbox: reports for the manager, in the order of the changes, until the manager acknowledges them.

The tables `outbox` and `identity`. No other module writes them, except that `sqlite_file` makes the identity with the
tables. Report numbers count per journal identity, so that a reinstalled worker is not mistaken for the old one.
"""

import _sqlite3 as sqlite3  # without dates and times, which each run and tick would load
import json
import os
from typing import Any

from runner.journal.mirror_table import MirrorTable
from runner.journal.override_table import OverrideTable
from runner.journal.run_table import RunTable
from runner.journal.sqlite_file import transaction
from schemas.report import CHANGE, REPORT_BOUNDS, SNAPSHOT, MirrorStatus, bounded, decode_probe, encode_content
from schemas.states import SUCCESS

BACKLOG = 1000
"""A success is reported without the end of its log when more reports than this wait."""

RUNS_AT_ONCE = 20
"""Ended runs in one report after a snapshot, some 170 kB with the tails of their logs."""


class Outbox:
    """The reports of one journal. Every public method that writes is one durable transaction or part of one."""

    def __init__(
        self, connection: sqlite3.Connection, mirrors: MirrorTable, runs: RunTable, overrides: OverrideTable
    ) -> None:
        self._db = connection
        self._mirrors, self._runs, self._overrides = mirrors, runs, overrides

    def identity(self) -> str:
        """Return the journal's own id."""
        return str(self._db.execute("SELECT journal FROM identity").fetchone()[0])

    def renew(self, now: float) -> None:
        """Take a new identity: this journal was restored from an old copy, so its numbers were used before."""
        # The manager knows nothing of the new identity, so it has acknowledged nothing.
        change = "UPDATE identity SET journal = ?, acknowledged = 0, renewed_at = ?"
        with transaction(self._db):
            self._db.execute(change, (os.urandom(16).hex(), now))

    def renewed_at(self) -> float:
        """Return when the identity was last renewed, 0 for never."""
        return float(self._db.execute("SELECT renewed_at FROM identity").fetchone()[0])

    def newest(self) -> int:
        """Return the highest number of a report so far, 0 before the first."""
        # The table itself may be empty, after all reports were acknowledged.
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        return int(row[0]) if row else 0

    def oldest(self, most: int, most_bytes: int) -> list[dict[str, Any]]:
        """Return the oldest unacknowledged reports as JSON values, within both limits, but at least one if any."""
        found: list[dict[str, Any]] = []
        size = 0
        query = "SELECT number, made_at, kind, content FROM outbox ORDER BY number LIMIT ?"
        for row in self._db.execute(query, (most,)):
            size += len(row["content"])
            # The first one in any case: one report may be larger than the limit, and would never be sent.
            if found and size > most_bytes:
                break
            head = {"number": row["number"], "made_at": row["made_at"], "kind": row["kind"]}
            found.append(head | json.loads(row["content"]))
        return found

    def acknowledged(self) -> int:
        """Return the highest number that the manager has acknowledged, 0 before the first."""
        return int(self._db.execute("SELECT acknowledged FROM identity").fetchone()[0])

    def pending(self) -> int:
        """Return how many reports wait. Their numbers have no gaps, so the slow count of all rows is not needed."""
        query = "SELECT (SELECT max(number) FROM outbox) - (SELECT min(number) FROM outbox) + 1"
        return int(self._db.execute(query).fetchone()[0] or 0)

    def acknowledge(self, number: int) -> None:
        """Remove the reports that the manager has committed: all up to `number`."""
        with transaction(self._db):
            self._db.execute("DELETE FROM outbox WHERE number <= ?", (number,))
            # max, since a manager that was restored from a backup may acknowledge less than before.
            self._db.execute("UPDATE identity SET acknowledged = max(acknowledged, ?)", (number,))

    def snapshot(self, known: int, now: float) -> None:
        """Replace all reports by a snapshot for a manager that knows only those up to `known`.

        The first report has every mirror's state. The others have the runs whose ends it cannot know, so that no end
        is lost, and again the ones whose logs its pages show. Several, so that a request does not grow with the time
        that the manager has missed.
        """
        with transaction(self._db):
            statuses = tuple(self.statuses())
            runs = tuple(self._runs.ended_after(known))
            self._db.execute("DELETE FROM outbox")
            self._add(SNAPSHOT, encode_content(statuses), now)
            for first in range(0, len(runs), RUNS_AT_ONCE):
                part = runs[first : first + RUNS_AT_ONCE]
                number = self._add(CHANGE, encode_content((), part), now)
                self._runs.report_end(number, [run.id for _mirror, run in part])

    def divide(self, report: dict[str, Any], now: float) -> None:
        """Replace a report by one for each of its states and runs, at the end of the outbox.

        The states are the current ones: an earlier state must not be reported after a later one.
        """
        with transaction(self._db):
            self.acknowledge(report["number"])
            for mirror in [status["mirror"] for status in report["statuses"]]:
                if self._mirrors.row(mirror) is not None:
                    self._add(CHANGE, encode_content((self.status(mirror, tail=False),)), now)
            for run in report.get("runs", ()):
                number = self._add(CHANGE, {"statuses": [], "runs": [run]}, now)
                self._runs.report_end(number, [run["id"]])

    def statuses(self) -> list[MirrorStatus]:
        """Return every mirror as reports show it now, without log tails, by name."""
        return [self.status(name, tail=False) for name in self._mirrors.names()]

    def status(self, mirror: str, *, tail: bool = True) -> MirrorStatus:
        """Return a mirror as reports show it now."""
        row = self._mirrors.row(mirror)
        if row is None:
            raise LookupError(f"the journal has no mirror {mirror}")
        run = self._runs.get(row["run"]) if row["run"] is not None else None
        if run is not None and not tail:
            run = run._replace(log_tail="")
        fields = {key: row[key] for key in MirrorStatus._fields if key in row.keys()}  # noqa: SIM118 - a Row is not a dict
        fields["probe"] = decode_probe(json.loads(row["probe"])) if row["probe"] else None
        fields["override"] = self._overrides.reported(mirror)
        return MirrorStatus(**fields | {"mirror": mirror, "run": run, "is_master": bool(row["is_master"])})

    def report(self, mirror: str, now: float) -> None:
        """Report a mirror's state, which is obsolete when its run ends; part of the caller's transaction."""
        self._add(CHANGE, encode_content((self.status(mirror),)), now, passing=mirror)

    def report_end(self, mirror: str, now: float) -> int:
        """Report the end of a mirror's run and return the report's number; part of the caller's transaction.

        Waiting reports that this makes obsolete are emptied, so that the outbox stays small while a manager is away for
        a week. Their numbers stay, so that none seems to be missing.
        """
        empty = json.dumps(encode_content(()))
        self._db.execute("UPDATE outbox SET content = ?, passing = NULL WHERE passing = ?", (empty, mirror))
        backlog = self.pending() > BACKLOG
        status = self.status(mirror)
        if backlog and status.status == SUCCESS and status.run is not None:
            status = status._replace(run=status.run._replace(log_tail=""))
        return self._add(CHANGE, encode_content((status,)), now)

    def _add(self, kind: str, content: dict[str, Any], now: float, *, passing: str | None = None) -> int:
        text = json.dumps(content, separators=(",", ":"))
        columns = "INSERT INTO outbox (made_at, kind, content, passing) VALUES (?, ?, ?, ?)"
        made_at = bounded({"made_at": now}, REPORT_BOUNDS)["made_at"]
        return int(self._db.execute(columns, (made_at, kind, text, passing)).lastrowid or 0)
