"""Which workers there are to take commands, and which mirrors each of them has."""

from schemas.states import DISABLED
from sitegen import commands
from sitegen.commands import Order
from sitegen.current import Current
from sitegen.envelope import Refused
from sitegen.model import TUNASYNC


class Control:
    """Turns orders into what each worker is to do."""

    def __init__(self, current: Current) -> None:
        self._current = current

    def targets(self, order: Order) -> dict[str, tuple[str, ...]]:
        """The workers that an order concerns with their mirrors; Refused when it names what there is not."""
        if order.worker is not None and order.worker in self._foreign():
            raise Refused(409, f"{order.worker} is a worker of tunasync: it takes commands by `POST /cmd` alone")
        return commands.targets(order, self.carried())

    def carried(self) -> dict[str, frozenset[str]]:
        """The mirrors of each of our own workers."""
        snapshot, foreign = self._current.snapshot(), self._foreign()
        found: dict[str, set[str]] = {worker.name: set() for worker in snapshot.workers}
        for mirror in snapshot.mirrors:
            for copy in mirror.copies:
                found.setdefault(copy.worker, set()).add(mirror.name)
        return {worker: frozenset(mirrors) for worker, mirrors in found.items() if worker not in foreign}

    def is_known(self, worker: str) -> bool:
        """Whether this is one of our own workers."""
        return worker in self.carried()

    def is_disabled(self, worker: str, mirror: str) -> bool:
        """Whether a mirror is disabled on a worker, as far as that has told."""
        views = (view for view in self._current.snapshot().mirrors if view.name == mirror)
        return any(copy.worker == worker and copy.status.status == DISABLED for view in views for copy in view.copies)

    def _foreign(self) -> frozenset[str]:
        return frozenset(state.name for state in self._current.facts().workers if state.journal == TUNASYNC)
