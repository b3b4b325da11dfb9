"""The table `run`: active and ended runs. No other module writes it."""

import _sqlite3 as sqlite3  # without dates and times, which each run and tick would load
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.base.output import masked
from runner.journal.sqlite_file import marks
from schemas.report import HIGHEST, Run
from schemas.states import ACTIVE, ENDS, FAILED, INTERRUPTED, LAUNCHING, PRE_SYNCING, STOPPED, SUCCESS

if TYPE_CHECKING:
    from runner.journal.last_success import Left

_RUN = ", ".join(Run._fields)


class Active(NamedTuple):
    """A run that has, or should have, a process."""

    id: int
    mirror: str
    status: str
    launched_at: float


class Ending(NamedTuple):
    """How a run ended; `next_run_at` is when the mirror is due again. Fields of `Run` are stored in its row.

    `left` is what it left in the directory, None if it never worked there. With `by_name` the size counts a hard-linked
    file once for each name; `on_disk` is then the size on disk, if the run walked the directory. `transferred` is the
    total size of new and changed files. `unreached` says that the
    upstream could not be reached or refused more connections, so that the run may be tried again early. `died` says
    that the run's process died, so that its last steps are unknown. `free_space` are the free bytes in the directory.
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
    left: "Left | None" = None
    by_name: bool = False
    on_disk: int | None = None
    transferred: int | None = None
    unreached: bool = False
    died: bool = False
    free_space: int | None = None


def storable(ending: Ending) -> Ending:
    """Return the end with figures limited to what SQLite can hold, since an upstream can claim any, and masked."""
    figures = (ending.bytes, ending.files, ending.size, ending.free_space)
    most = [None if figure is None else min(figure, HIGHEST) for figure in figures]
    limited = ending._replace(bytes=most[0], files=most[1], size=most[2], free_space=most[3])
    return limited._replace(reason=masked(ending.reason))


def columns_of(ending: Ending) -> dict[str, Any]:
    """Return the fields of an end that a run has as well, by column."""
    return {name: value for name, value in ending._asdict().items() if name in Run._fields}


def with_cause(ending: Ending, held: str, told: str) -> Ending:
    """Return the end with the reason that was `told` to an interrupted run.

    Only an override (`held`) makes it a stop by an operator: a signal alone is an interruption.
    """
    if ending.status != INTERRUPTED:
        return ending._replace(next_run_at=None) if held else ending
    reason = told or ending.reason
    if not held:
        return ending._replace(reason=reason)
    return ending._replace(status=STOPPED, reason=reason, next_run_at=None)


class RunTable:
    """The rows of `run`. The caller makes the transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def get(self, run: int) -> Run | None:
        """Return a run as reports have it; None if it does not exist."""
        row = self._db.execute(f"SELECT {_RUN} FROM run WHERE id = ?", (run,)).fetchone()  # noqa: S608 - own columns
        return Run(*row) if row else None

    def row(self, run: int) -> Mapping[str, Any] | None:
        """Return all columns of a run; None if it does not exist."""
        row: Mapping[str, Any] | None = self._db.execute("SELECT * FROM run WHERE id = ?", (run,)).fetchone()
        return row

    def active(self) -> list[Active]:
        """Return the runs that have, or should have, a process."""
        # Through the index on the status: a worker with thousands of mirrors keeps many thousand runs.
        query = f"SELECT id, mirror, status, launched_at FROM run WHERE status IN ({marks(ACTIVE)})"  # noqa: S608 - marks
        return [Active(*row) for row in self._db.execute(query, sorted(ACTIVE))]

    def last_end(self, mirror: str) -> str:
        """Return the status of a mirror's last ended run; empty if there is none."""
        query = f"SELECT status FROM run WHERE mirror = ? AND status IN ({marks(ENDS)}) ORDER BY id DESC LIMIT 1"  # noqa: S608 - marks
        row = self._db.execute(query, (mirror, *sorted(ENDS))).fetchone()
        return row["status"] if row else ""

    def follows_success(self, mirror: str, run: int) -> bool:
        """Return whether the mirror's run before this one was a success."""
        query = "SELECT status FROM run WHERE mirror = ? AND id < ? ORDER BY id DESC LIMIT 1"
        row = self._db.execute(query, (mirror, run)).fetchone()
        return row is not None and row["status"] == SUCCESS

    def first_failure(self, mirror: str, after: float) -> float | None:
        """Return when a run of the mirror first ended as failed after a time; None if none did."""
        query = "SELECT min(ended_at) FROM run WHERE mirror = ? AND status = ? AND ended_at > ?"
        found: float | None = self._db.execute(query, (mirror, FAILED, after)).fetchone()[0]
        return found

    def was_requested(self, mirror: str) -> bool:
        """Return whether the mirror's newest run was launched by a tick of requested starts alone, or by hand."""
        query = "SELECT by_request FROM run WHERE mirror = ? ORDER BY id DESC LIMIT 1"
        row = self._db.execute(query, (mirror,)).fetchone()
        return row is not None and bool(row["by_request"])

    def ended_after(self, known: int) -> list[tuple[str, Run]]:
        """Return runs with their mirrors for a manager that knows the reports up to the number `known`.

        Those are all runs whose ends it does not know, and again the ones whose logs its pages show.
        """
        shown = "end_number IS NOT NULL AND status <> ? AND log_tail <> '' AND id IN (SELECT run FROM mirror)"
        query = f"SELECT mirror, {_RUN} FROM run WHERE end_number > ? OR ({shown}) ORDER BY id"  # noqa: S608 - own columns
        return [(row[0], Run(*row[1:])) for row in self._db.execute(query, (known, SUCCESS))]

    def add(self, mirror: str, revision: str, now: float, *, by_request: bool) -> int:
        """Add a launched run and return its id."""
        columns = "INSERT INTO run (mirror, status, launched_at, revision, by_request) VALUES (?, ?, ?, ?, ?)"
        return int(self._db.execute(columns, (mirror, LAUNCHING, now, revision, by_request)).lastrowid or 0)

    def begin(self, run: int, revision: str, now: float) -> bool:
        """Let a launched run begin; False if it is not waiting for that."""
        change = "UPDATE run SET status = ?, started_at = ?, revision = ? WHERE id = ? AND status = ?"
        return bool(self._db.execute(change, (PRE_SYNCING, now, revision, run, LAUNCHING)).rowcount)

    def update(self, run: int, fields: Mapping[str, Any]) -> None:
        """Set columns of a run."""
        columns = ", ".join(f"{column} = ?" for column in fields)
        self._db.execute(f"UPDATE run SET {columns} WHERE id = ?", (*fields.values(), run))  # noqa: S608 - own columns

    def report_end(self, number: int, runs: Iterable[int]) -> None:
        """Record the number of the report that contains the ends of these runs."""
        self._db.executemany("UPDATE run SET end_number = ? WHERE id = ?", [(number, run) for run in runs])

    def withdraw(self, mirror: str, run: int | None) -> bool | None:
        """Remove a mirror's launched run, any for None; return its `by_request`, or None if there was none."""
        chosen = "FROM run WHERE mirror = ?1 AND status = ?2 AND id = coalesce(?3, id)"
        values = (mirror, LAUNCHING, run)
        row = self._db.execute(f"SELECT by_request {chosen}", values).fetchone()
        self._db.execute(f"DELETE {chosen}", values)
        return bool(row["by_request"]) if row else None

    def rename(self, old: str, name: str) -> None:
        """Give the runs of a previous name to the current one."""
        self._db.execute("UPDATE run SET mirror = ? WHERE mirror = ?", (name, old))

    def delete(self, mirror: str) -> None:
        """Remove all runs of a mirror."""
        self._db.execute("DELETE FROM run WHERE mirror = ?", (mirror,))

    def delete_old(self, mirror: str, kept: int) -> None:
        """Remove ended runs whose ends the manager has acknowledged, beyond the newest `kept` runs."""
        self._db.execute(
            # Others stay: a snapshot must contain them if the manager has lost its database.
            "DELETE FROM run WHERE mirror = ?1 AND end_number <= (SELECT acknowledged FROM identity)"
            " AND id <= (SELECT id FROM run WHERE mirror = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
            (mirror, kept),
        )
