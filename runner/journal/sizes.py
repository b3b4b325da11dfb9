"""How large is a mirror? Combines the size from a log with the size measured on disk.

rsync's total counts a hard-linked file once for each name, and does not include files that the upstream lacks. A walk
finds the difference, and the totals of later runs are corrected by it until the next walk. If a total rises by more
than a run has transferred, it has new names for old files, which take no space.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.states import SUCCESS

_DAY = 86400.0


class LogFigures(NamedTuple):
    """Figures from an attempt's log: bytes, the number of transferred files, and whether the bytes are a sum over
    names, in which a hard-linked file counts once for each.

    `transferred` is the total size of what came since the last success, in bytes; None if that is not known.
    """

    size: int | None
    files: int | None
    by_name: bool
    transferred: int | None = None

    def of_several_attempts(self) -> "LogFigures":
        """Return the figures if this was not the only attempt: the others may have transferred files as well."""
        return self._replace(transferred=None)


def is_measurement_due(mirror: Mapping[str, Any], run_size: int | None, now: float) -> bool:
    """Return whether a mirror should be measured on disk; `mirror` is its row, `run_size` the size of its last run.

    It is if the last success had no size, or a sum over names and something has changed since; at most once a day.
    """
    measured_at = mirror["measured_at"]
    is_old = measured_at is None or not 0 <= now - measured_at < _DAY
    return is_old and (run_size is None or (mirror["told_size"] is not None and bool(mirror["altered"])))


def columns_after(
    mirror: Mapping[str, Any] | None, status: str, figures: LogFigures, *, follows_success: bool
) -> dict[str, Any]:
    """Return the changed columns of a mirror after a run with that status and those figures in its log.

    `mirror` is the row before, None for a new one. After a success without another run in between, new bytes are at
    most those that were transferred.
    """
    if figures.size is None or status != SUCCESS:
        return {"altered": 1} if figures.files else {}
    if not figures.by_name:
        return {"size": figures.size, "told_size": None, "correction": None}
    before, correction, size = (mirror["told_size"], mirror["correction"], mirror["size"]) if mirror else (None,) * 3
    shown = max(0, figures.size + (correction or 0))
    if figures.transferred is not None and correction is not None and size is not None and follows_success:
        shown = min(shown, size + figures.transferred)
        correction = shown - figures.size
    altered = {"altered": 1} if figures.files or figures.size != before else {}
    return {"size": shown, "told_size": figures.size, "correction": correction} | altered
