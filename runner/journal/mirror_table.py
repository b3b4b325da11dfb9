"""The table `mirror`: the state of each mirror. No other module writes it."""

import _sqlite3 as sqlite3  # without dates and times, which each run and tick would load
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.journal.sqlite_file import marks
from runner.plan.plan import Planned
from runner.plan.schedule import State
from schemas.report import HIGHEST, Probe, decode_probe
from schemas.states import ACTIVE, DISABLED, PAUSED, QUEUED

if TYPE_CHECKING:  # ticks never ask for it
    from runner.journal.last_success import Past

_STATE = ", ".join(State._fields)

_PAST = (
    "last_success_at, files_in, size, emptied, accepted_files, accepted_bytes, loss_refused, deleted_files,"
    " deleted_bytes, deleting, first_look, counted, accepted_on_disk,"
    " uncounted_since"
)
"""The columns of `Past`, in its order."""

_NOT_PROBED = ACTIVE | {PAUSED, DISABLED}


class Subject(NamedTuple):
    """The mirror of a run, as reports show it."""

    name: str
    upstream: str
    is_master: bool
    revision: str

    @classmethod
    def of(cls, planned: Planned) -> "Subject":
        """Return what reports show of a mirror of the plan."""
        mirror = planned.mirror
        return cls(mirror.name, mirror.upstream, mirror.role == "master", planned.revision)


class MirrorTable:
    """The rows of `mirror`. The caller makes the transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def states(self) -> dict[str, State]:
        """Return every mirror's state by name."""
        query = f"SELECT name, {_STATE} FROM mirror"  # noqa: S608 - own columns
        return {row[0]: State(*row[1:]) for row in self._db.execute(query)}

    def state(self, name: str) -> State:
        """Return the state of a mirror that has one."""
        query = f"SELECT {_STATE} FROM mirror WHERE name = ?"  # noqa: S608 - own columns
        return State(*self._db.execute(query, (name,)).fetchone())

    def names(self) -> list[str]:
        """Return the names of all mirrors, sorted."""
        return [row[0] for row in self._db.execute("SELECT name FROM mirror ORDER BY name")]

    def row(self, name: str) -> Mapping[str, Any] | None:
        """Return all columns of a mirror; None if it has no row."""
        row: Mapping[str, Any] | None = self._db.execute("SELECT * FROM mirror WHERE name = ?", (name,)).fetchone()
        return row

    def past(self, name: str) -> "Past | None":
        """Return what earlier runs left in a mirror's directory; None if it has no row."""
        from runner.journal.last_success import Past

        row = self._db.execute(f"SELECT {_PAST} FROM mirror WHERE name = ?", (name,)).fetchone()  # noqa: S608 - own columns
        return None if row is None else Past(*row)

    def probe(self, name: str) -> Probe | None:
        """Return the result of a mirror's last comparison with its upstream."""
        row = self._db.execute("SELECT probe FROM mirror WHERE name = ?", (name,)).fetchone()
        return decode_probe(json.loads(row["probe"])) if row and row["probe"] else None

    def probes_due(self, files: Mapping[str, str], now: float, every: float) -> list[str]:
        """Return the idle mirrors among `files` (by name the file to compare) that are due for a probe.

        Those are the ones with a success since the last probe, with no probe for `every` seconds, or with another file.
        """
        # abs, since a clock that was set back must not put off probes. Mirrors without a probe come first (NULL).
        query = (
            "SELECT name, status, json_extract(probe, '$.file'), probed_at IS NULL OR probed_at < last_success_at"
            " OR abs(? - probed_at) >= ? FROM mirror WHERE last_success_at IS NOT NULL ORDER BY probed_at"
        )
        return [
            name
            for name, status, file, is_due in self._db.execute(query, (now, every))
            if name in files and status not in _NOT_PROBED and (is_due or file not in (None, files[name]))
        ]

    def with_next_run(self) -> set[str]:
        """Return the mirrors whose reports have the time of their next run."""
        return {row[0] for row in self._db.execute("SELECT name FROM mirror WHERE next_run_at IS NOT NULL")}

    def count_waiting(self) -> int:
        """Return how many runs are between two attempts without a slot."""
        return self._count_active("next_attempt_at IS NOT NULL")

    def count_busy(self, besides: str) -> int:
        """Return how many runs have a slot, without the run of the mirror `besides`."""
        return self._count_active("next_attempt_at IS NULL AND name <> ?", besides)

    def _count_active(self, condition: str, *values: str) -> int:
        # CROSS JOIN makes SQLite start from the few active runs: thousands of mirrors may be idle.
        active = f"run CROSS JOIN mirror ON name = run.mirror WHERE run.status IN ({marks(ACTIVE)})"
        query = f"SELECT count(DISTINCT name) FROM {active} AND {condition}"  # noqa: S608 - marks, own conditions
        return int(self._db.execute(query, (*sorted(ACTIVE), *values)).fetchone()[0])

    def to_be_ended(self) -> list[str]:
        """Return the mirrors whose active runs have a recorded reason to stop."""
        query = "SELECT DISTINCT name FROM mirror JOIN run ON run.mirror = name WHERE told <> '' AND run.status IN"
        return [row[0] for row in self._db.execute(f"{query} ({marks(ACTIVE)})", sorted(ACTIVE))]

    def with_reason_to_stop(self) -> set[str]:
        """Return the mirrors with a recorded reason to stop, whose runs may have ended since."""
        return {row[0] for row in self._db.execute("SELECT name FROM mirror WHERE told != ''")}

    def put(self, subject: Subject, status: str, *, run: int | None = None) -> None:
        """Set a mirror's status, and its run unless that is None; adds the row if it is missing."""
        self._db.execute(
            # Not INSERT OR REPLACE, which would reset all other columns.
            "INSERT INTO mirror (name, upstream, is_master, status, run) VALUES (?1, ?2, ?3, ?4, ?5)"
            " ON CONFLICT (name) DO UPDATE SET upstream = ?2, is_master = ?3, status = ?4, run = coalesce(?5, run)",
            (subject.name, subject.upstream, subject.is_master, status, run),
        )

    def update(self, name: str, fields: Mapping[str, Any]) -> None:
        """Set columns of a mirror; does nothing if it has no row."""
        columns = ", ".join(f"{column} = ?" for column in fields)
        self._db.execute(f"UPDATE mirror SET {columns} WHERE name = ?", (*fields.values(), name))  # noqa: S608 - own columns

    def requeue(self, name: str) -> None:
        """Let a mirror wait for a slot again."""
        self._db.execute("UPDATE mirror SET status = ? WHERE name = ?", (QUEUED, name))

    def give_reason_to_stop(self, names: Iterable[str], reason: str) -> None:
        """Record why runs are about to be stopped, unless an earlier reason is there: the first one counts."""
        query = "UPDATE mirror SET told = ? WHERE name = ? AND told = ''"
        self._db.executemany(query, [(reason, name) for name in names])

    def add_deletions(self, name: str, token: str, files: int, size: int) -> None:
        """Add files and their bytes to those deleted since the last accepted success, under a token.

        They include what runs lost that died before.
        """
        change = (
            "UPDATE mirror SET deleted_files = deleted_files + ?1, deleted_bytes = min(deleted_bytes + ?2, ?3),"
            " deleting = ?4, uncounted_since = NULL WHERE name = ?5"
        )
        self._db.execute(change, (files, min(size, HIGHEST), HIGHEST, token, name))

    def take_back_deletions(self, name: str, token: str, files: int, size: int) -> None:
        """Subtract, once for that token, files and bytes that were not deleted.

        What runs lost that died before is known then.
        """
        change = (
            "UPDATE mirror SET deleted_files = max(0, deleted_files - ?), deleted_bytes = max(0, deleted_bytes - ?),"
            " deleting = '', uncounted_since = NULL WHERE name = ? AND deleting = ?"
        )
        self._db.execute(change, (files, min(size, HIGHEST), name, token))

    def correct_size(self, name: str, size: int, logged: int | None, now: float) -> None:
        """Record a size measured on disk, and its difference to the size that a log had shown when the walk began.

        A run that has logged another size since then is not covered: `altered` stays, so the next walk follows.
        """
        change = (
            "UPDATE mirror SET size = max(0, coalesce(told_size - ?4, 0) + ?1), correction = ?1 - ?4,"
            " altered = altered AND told_size IS NOT ?4, measured_at = ?2 WHERE name = ?3"
        )
        self._db.execute(change, (size, now, name, logged))

    def show_override(self, name: str) -> None:
        """Make an override the status of its mirror, which then has no next run; nothing without an override."""
        held = "SELECT kind FROM override WHERE mirror = name"
        change = f"UPDATE mirror SET status = ({held}), next_run_at = NULL WHERE name = ? AND ({held}) <> ''"  # noqa: S608 - own words
        self._db.execute(change, (name,))

    def rename(self, old: str, name: str) -> None:
        """Let a mirror have the row of its previous name, if there is one, instead of its own."""
        if self.row(old) is not None:
            self.delete(name)
            self._db.execute("UPDATE mirror SET name = ? WHERE name = ?", (name, old))

    def delete(self, name: str) -> None:
        """Remove a mirror's row."""
        self._db.execute("DELETE FROM mirror WHERE name = ?", (name,))
