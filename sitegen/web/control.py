"""Which workers a command goes to, and for which of their mirrors."""

from typing import NamedTuple

from schemas.states import DISABLED
from sitegen.messages import commands
from sitegen.messages.commands import CommandRequest
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import TUNASYNC
from sitegen.site.snapshot import Snapshot
from sitegen.web.snapshot_cache import SnapshotCache


class Fleet(NamedTuple):
    """The mirrors of each Skipjack worker (`carried`) and the names of tunasync's workers (`foreign`), as of a change.

    `to_be_ended` also has mirrors that were removed from a worker while their runs continue.
    """

    changes: int
    carried: dict[str, frozenset[str]]
    to_be_ended: dict[str, frozenset[str]]
    foreign: frozenset[str]


class Control:
    """Finds the workers and mirrors that a command request concerns."""

    def __init__(self, current: SnapshotCache) -> None:
        self._current = current
        self._known: Fleet | None = None

    def targets(self, order: CommandRequest) -> dict[str, tuple[str, ...]]:
        """Return the workers that a request concerns with their mirrors; RejectedRequest when it names unknown ones."""
        fleet = self._fleet()
        if order.worker is not None and order.worker in fleet.foreign:
            raise RejectedRequest(409, f"{order.worker} is a worker of tunasync: send its commands to `POST /cmd`")
        return commands.targets(order, fleet.to_be_ended if order.kind in commands.OFF else fleet.carried)

    def carried(self) -> dict[str, frozenset[str]]:
        """Return the mirrors of each Skipjack worker."""
        return self._fleet().carried

    def _fleet(self) -> Fleet:
        """Return the fleet, read again only after a change: reading a thousand workers takes longer than a command."""
        known = self._known
        if known is None or known.changes != self._current.newest():
            known = self._known = _fleet(self._current.snapshot())
        return known

    def is_known(self, worker: str) -> bool:
        """Return whether this is a Skipjack worker."""
        return worker in self.carried()

    def is_disabled(self, worker: str, mirror: str) -> bool:
        """Return whether a mirror is disabled on a worker, by the worker's last report."""
        views = (view for view in self._current.snapshot().mirrors if view.name == mirror)
        return any(copy.worker == worker and copy.status.status == DISABLED for view in views for copy in view.copies)


def _fleet(snapshot: Snapshot) -> Fleet:
    states = (worker.state for worker in snapshot.workers)
    foreign = frozenset(state.name for state in states if state is not None and state.journal == TUNASYNC)
    found: dict[str, set[str]] = {worker.name: set() for worker in snapshot.workers}
    for mirror in snapshot.mirrors:
        for copy in mirror.copies:
            found.setdefault(copy.worker, set()).add(mirror.name)
    carried = {worker: frozenset(mirrors) for worker, mirrors in found.items() if worker not in foreign}
    left = {worker.name: worker.left for worker in snapshot.workers}
    to_be_ended = {worker: mirrors | left.get(worker, frozenset()) for worker, mirrors in carried.items()}
    return Fleet(snapshot.changes, carried, to_be_ended, foreign)
