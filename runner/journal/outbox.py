"""The outbox: what the manager is told, in the order in which it became so, until it has said that it knows it.

A report's number is counted by the journal's identity, so that a worker made anew is not mistaken for the old one.
"""

import _sqlite3 as sqlite3  # without dates and times, which each run and tick would load
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from runner.journal.sqlite_file import give_back, transaction
from schemas.report import (
    CHANGE,
    REPORT_BOUNDS,
    SNAPSHOT,
    MirrorStatus,
    Override,
    Run,
    bounded,
    decode_probe,
    encode_content,
)
from schemas.states import SUCCESS

BACKLOG = 1000
"""Waiting reports from which on a success is reported without the end of its log."""

RUNS_AT_ONCE = 20
"""Ended runs in one report after a snapshot; with the tails of their logs some 170 kB."""

_RUN = ", ".join(Run._fields)

_OVERRIDE = "SELECT kind, made_at, substr(made_by, 1, 200), reason FROM override"


class Outbox:
    """What the journal tells of its mirrors. Every method that writes is one durable transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @contextmanager
    def together(self) -> Iterator[sqlite3.Connection]:
        """Make several changes one transaction; gives the connection, for the tables of other modules."""
        with transaction(self._db):
            yield self._db

    def run(self, run: int) -> Run | None:
        """One run, or None when there is none of that number."""
        row = self._db.execute(f"SELECT {_RUN} FROM run WHERE id = ?", (run,)).fetchone()  # noqa: S608 - own columns
        return Run(*row) if row else None

    def last_run(self, mirror: str) -> Run | None:
        """The last run of a mirror that began or ended, or None before the first."""
        row = self._db.execute("SELECT run FROM mirror WHERE name = ?", (mirror,)).fetchone()
        return self.run(row[0]) if row and row[0] is not None else None

    def statuses(self) -> list[MirrorStatus]:
        """Every mirror as reports show it now, without the ends of logs, by name."""
        names = [row[0] for row in self._db.execute("SELECT name FROM mirror ORDER BY name")]
        return [self._status(name, tail=False) for name in names]

    def identity(self) -> str:
        """The journal's own identity: numbers count per journal, so a reinstalled worker is not taken for the old."""
        return str(self._db.execute("SELECT journal FROM identity").fetchone()[0])

    def renew(self, now: float) -> None:
        """Become another journal: this one was restored from an old copy, so its numbers were used before."""
        change = "UPDATE identity SET journal = ?, acknowledged = 0, renewed_at = ?"
        with transaction(self._db):
            self._db.execute(change, (os.urandom(16).hex(), now))

    def renewed_at(self) -> float:
        """When it last became another journal, 0 for never."""
        return float(self._db.execute("SELECT renewed_at FROM identity").fetchone()[0])

    def newest(self) -> int:
        """The highest number that a report ever got here, 0 before the first."""
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
        return int(row[0]) if row else 0

    def outbox(self, most: int, most_bytes: int) -> list[dict[str, Any]]:
        """The oldest reports that were not acknowledged, as JSON values: at least one if there is any."""
        found: list[dict[str, Any]] = []
        size = 0
        query = "SELECT number, made_at, kind, content FROM outbox ORDER BY number LIMIT ?"
        for row in self._db.execute(query, (most,)):
            size += len(row["content"])
            if found and size > most_bytes:
                break
            head = {"number": row["number"], "made_at": row["made_at"], "kind": row["kind"]}
            found.append(head | json.loads(row["content"]))
        return found

    def acknowledged(self) -> int:
        """The highest number that the manager ever acknowledged, 0 before the first."""
        return int(self._db.execute("SELECT acknowledged FROM identity").fetchone()[0])

    def pending(self) -> int:
        """How many reports wait. Their numbers have no gap, so none need be counted, which takes long in a long row."""
        query = "SELECT (SELECT max(number) FROM outbox) - (SELECT min(number) FROM outbox) + 1"
        return int(self._db.execute(query).fetchone()[0] or 0)

    def acknowledge(self, number: int) -> None:
        """Take out of the outbox what the manager has committed: everything up to `number`."""
        with transaction(self._db):
            self._db.execute("DELETE FROM outbox WHERE number <= ?", (number,))
            self._db.execute("UPDATE identity SET acknowledged = max(acknowledged, ?)", (number,))

    def give_back(self) -> None:
        """Give room that delivered reports leave unused back to the disk."""
        give_back(self._db)

    def snapshot(self, known: int, now: float) -> None:
        """Replace what waits by reports of everything, for a manager that knows all up to `known` and no more.

        The first holds every mirror's state. Those after it hold every ended run that such a manager cannot know, so
        no end is lost, and again those whose logs pages show. They are several, since a request must not grow with the
        time that a manager has missed.
        """
        with transaction(self._db):
            statuses = tuple(self.statuses())
            shown = "end_number IS NOT NULL AND status <> ? AND log_tail <> '' AND id IN (SELECT run FROM mirror)"
            query = f"SELECT mirror, {_RUN} FROM run WHERE end_number > ? OR ({shown}) ORDER BY id"  # noqa: S608 - own columns
            runs = tuple((row[0], Run(*row[1:])) for row in self._db.execute(query, (known, SUCCESS)))
            self._db.execute("DELETE FROM outbox")
            self._enqueue(SNAPSHOT, encode_content(statuses), now)
            for first in range(0, len(runs), RUNS_AT_ONCE):
                part = runs[first : first + RUNS_AT_ONCE]
                number = self._enqueue(CHANGE, encode_content((), part), now)
                ids = [(number, run.id) for _mirror, run in part]
                self._db.executemany("UPDATE run SET end_number = ? WHERE id = ?", ids)

    def divide(self, report: dict[str, Any], now: float) -> None:
        """Take a report out of the outbox, and append one for each state and each run that it has.

        The states are those of now: an earlier one must not come after a later one.
        """
        with transaction(self._db):
            self.acknowledge(report["number"])
            for mirror in [status["mirror"] for status in report["statuses"]]:
                if self._db.execute("SELECT 1 FROM mirror WHERE name = ?", (mirror,)).fetchone():
                    self._enqueue(CHANGE, encode_content((self._status(mirror, tail=False),)), now)
            for run in report.get("runs", ()):
                number = self._enqueue(CHANGE, {"statuses": [], "runs": [run]}, now)
                self._db.execute("UPDATE run SET end_number = ? WHERE id = ?", (number, run["id"]))

    # Parts of transactions

    def _status(self, mirror: str, *, tail: bool = True) -> MirrorStatus:
        row = self._db.execute("SELECT * FROM mirror WHERE name = ?", (mirror,)).fetchone()
        run = self.run(row["run"]) if row["run"] is not None else None
        if run is not None and not tail:
            run = run._replace(log_tail="")
        fields = {key: row[key] for key in MirrorStatus._fields if key in row.keys()}  # noqa: SIM118 - a Row is no dict
        fields["probe"] = decode_probe(json.loads(row["probe"])) if row["probe"] else None
        held = self._db.execute(f"{_OVERRIDE} WHERE mirror = ?", (mirror,)).fetchone()
        fields["override"] = Override(*held) if held else None
        return MirrorStatus(**fields | {"mirror": mirror, "run": run, "is_master": bool(row["is_master"])})

    def _report(self, mirror: str, now: float) -> None:
        """Report a state that the run's end will make a thing of the past."""
        self._enqueue(CHANGE, encode_content((self._status(mirror),)), now, passing=mirror)

    def _report_end(self, mirror: str, now: float) -> int:
        """Report an end, and empty the reports before it that still wait: a manager that is away for a week must not
        make the outbox grow by what nobody will want to know. Their numbers stay, so that none seems to be missing.
        """
        empty = json.dumps(encode_content(()))
        self._db.execute("UPDATE outbox SET content = ?, passing = NULL WHERE passing = ?", (empty, mirror))
        backlog = self.pending() > BACKLOG
        status = self._status(mirror)
        if backlog and status.status == SUCCESS and status.run is not None:
            status = status._replace(run=status.run._replace(log_tail=""))
        return self._enqueue(CHANGE, encode_content((status,)), now)

    def _enqueue(self, kind: str, content: dict[str, Any], now: float, *, passing: str | None = None) -> int:
        text = json.dumps(content, separators=(",", ":"))
        columns = "INSERT INTO outbox (made_at, kind, content, passing) VALUES (?, ?, ?, ?)"
        made_at = bounded({"made_at": now}, REPORT_BOUNDS)["made_at"]
        return int(self._db.execute(columns, (made_at, kind, text, passing)).lastrowid or 0)
