"""Which files of a worker show that it had a journal, even if a release without marks wrote them?

Only files that cannot be older than the journal count: the next-wake cache is written by a tick that has opened the
journal, and releases without marks opened it in each follow.
"""

import os

from runner.base.state_dir import StateLayout
from schemas.regular_files import regular

_LAST_UNMARKED = 5
"""The newest plan format of releases that left no mark beside the journal."""

_MAGIC, _VERSION = b"SQLite format 3\0", slice(60, 64)
"""The first bytes of an SQLite file, and the position of its user_version."""


def of_journal(path: str) -> list[str]:
    """Return the files that show that the journal at `path` was in use."""
    layout = StateLayout(os.path.dirname(path))
    found = [layout.next_wake] if os.path.lexists(layout.next_wake) else []
    return [*found, layout.plan] if _is_unmarked(layout.plan) else found


def _is_unmarked(plan: str) -> bool:
    try:
        if not os.path.isfile(plan):
            return False
        with open(plan, "rb", opener=regular) as file:
            head = file.read(100)
    except OSError:
        return False
    return head.startswith(_MAGIC) and 0 < int.from_bytes(head[_VERSION], "big") <= _LAST_UNMARKED
