"""What is left over on a worker: one record for each thing, and the digest of a list of them. Pure."""

import hashlib
import json
from collections.abc import Iterable
from typing import NamedTuple

DATA, LOGS, SNAPSHOT, STATE = "data", "logs", "snapshot", "state"
"""What `prune` can remove: directories of mirrors, folders of logs, snapshots, and what the state directory has."""

CONTAINER, OVERRIDE, UNIT = "container", "override", "unit"
"""What is only shown."""

KINDS = (DATA, SNAPSHOT, LOGS, STATE, UNIT, CONTAINER, OVERRIDE)
"""All kinds, in the order of the report."""


class Leftover(NamedTuple):
    """One thing without a definition, or an override that is older than a week.

    `path` is absolute, empty for what is not one file. `identity` changes when something else takes its place. `what`
    describes it. `kept` is why `prune` leaves it, with what to do; empty if it can be removed.
    """

    kind: str
    name: str
    path: str = ""
    identity: str = ""
    what: str = ""
    kept: str = ""


class Usage(NamedTuple):
    """The size of a directory in bytes, and its newest change in seconds since 1970 UTC.

    Both are what was found so far if the walk is not `complete`.
    """

    size: int
    newest: float
    complete: bool


class Drift(NamedTuple):
    """Everything that a worker has beside its plan.

    `behind` says how the plan differs from the repository, `unread` which folders could not be searched.
    """

    worker: str
    revision: str
    items: tuple[Leftover, ...]
    behind: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def removable(items: Iterable[Leftover], *, data: bool) -> tuple[Leftover, ...]:
    """Return the items that `prune` removes; directories of mirrors only with `data`."""
    return tuple([each for each in items if not each.kept and (data or each.kind != DATA)])


def digest(items: Iterable[Leftover]) -> str:
    """Return a name of a list of items, which another list does not have."""
    listed = sorted([each.kind, each.name, each.path, each.identity] for each in items)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]
