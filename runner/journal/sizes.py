"""The size of a mirror in the journal: what a log told, and what was measured on disk.

rsync's total counts a file once for each of its names, and knows nothing of files that the upstream does not have. So
a walk finds by how much it is wrong, and what later runs tell is corrected by that until the next walk. A total that
rises by more than a run has transferred has new names for old files in it, which take no room.
"""

from typing import Any, NamedTuple

from runner.journal.outbox import Outbox
from runner.journal.sqlite_file import transaction
from schemas.states import SUCCESS

_DAY = 86400.0


class Told(NamedTuple):
    """What an attempt's log told: bytes, the number of files that were transferred, and whether the bytes are a sum
    over names, in which a file with several of them counts several times.

    `transferred` is the whole size of what came since the last success; None where that is not known.
    """

    size: int | None
    files: int | None
    by_name: bool
    transferred: int | None = None

    def of_many(self) -> "Told":
        """The same of the last one of several attempts: the others may have brought files as well."""
        return self._replace(transferred=None)


class Sizes(Outbox):
    """The part of the journal that knows sizes. Every method that writes is one durable transaction."""

    def needs_size(self, mirror: str, now: float) -> bool:
        """Whether the mirror's size should be measured: its last success told none, or a sum over names and something
        has changed since; and a day has gone by since the last time."""
        query = (
            "SELECT run.size, measured_at, told_size, altered FROM mirror JOIN run ON run.id = mirror.run"
            " WHERE name = ?"
        )
        row = self._db.execute(query, (mirror,)).fetchone()
        if row is None:
            return False
        size, measured_at, told, altered = row
        is_old = measured_at is None or not 0 <= now - measured_at < _DAY
        return is_old and (size is None or (told is not None and bool(altered)))

    def told_size(self, mirror: str) -> int | None:
        """What the log of the last success told as a sum over names, in bytes; None where it told none."""
        row = self._db.execute("SELECT told_size FROM mirror WHERE name = ?", (mirror,)).fetchone()
        return None if row is None else row["told_size"]

    def measured(self, mirror: str, size: int, now: float, told: int | None = None) -> None:
        """Record a size that was measured on disk, in bytes; `told` is what a log had told when the walk began.

        A run that has told another size since then is not what was measured: the next walk looks at it.
        """
        change = (
            "UPDATE mirror SET size = max(0, coalesce(told_size - ?4, 0) + ?1), correction = ?1 - ?4,"
            " altered = altered AND told_size IS NOT ?4, measured_at = ?2 WHERE name = ?3"
        )
        with transaction(self._db):
            self._db.execute(change, (size, now, mirror, self.told_size(mirror) if told is None else told))
            self._report(mirror, now)

    def _with_size(self, mirror: str, run: int, status: str, told: Told) -> dict[str, Any]:
        """The columns of the mirror that follow from what the log of a run told that ended so."""
        if told.size is None or status != SUCCESS:
            return {"altered": 1} if told.files else {}
        if not told.by_name:
            return {"size": told.size, "told_size": None, "correction": None}
        row = self._db.execute("SELECT told_size, correction, size FROM mirror WHERE name = ?", (mirror,)).fetchone()
        before, correction, size = row or (None, None, None)
        shown = max(0, told.size + (correction or 0))
        brought = told.transferred
        if brought is not None and correction is not None and size is not None and self._follows_success(mirror, run):
            shown = min(shown, size + brought)
            correction = shown - told.size
        altered = {"altered": 1} if told.files or told.size != before else {}
        return {"size": shown, "told_size": told.size, "correction": correction} | altered

    def _follows_success(self, mirror: str, run: int) -> bool:
        """Whether the mirror's run before this one was a success, so that no other has brought files meanwhile."""
        query = "SELECT status FROM run WHERE mirror = ? AND id < ? ORDER BY id DESC LIMIT 1"
        row = self._db.execute(query, (mirror, run)).fetchone()
        return row is not None and row["status"] == SUCCESS
