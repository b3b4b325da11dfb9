"""Random reports, repeats, reorderings, snapshots and restarts against a model of a few lines."""

import tempfile
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from schemas.report import SNAPSHOT, MirrorStatus, Report, Run
from sitegen.messages.model import Delivery
from sitegen.storage.store import Store
from tests.sitegen.kit import NOW, delivery_of, report_of, run_of, status_of

NAMES = strategies.sampled_from(["a", "b", "c"])
WORKERS = strategies.sampled_from(["w1", "w2"])
JOURNALS = strategies.sampled_from(["0" * 32, "1" * 32])
STATUSES = strategies.sampled_from(["success", "failed", "syncing"])


@dataclass
class Model:
    """The simplest model of the manager's state."""

    acknowledged: dict[tuple[str, str], int] = field(default_factory=dict)
    statuses: dict[tuple[str, str], MirrorStatus] = field(default_factory=dict)
    runs: dict[tuple[str, str, int], Run] = field(default_factory=dict)

    def hear(self, worker: str, journal: str, reports: tuple[Report, ...]) -> tuple[int, bool]:
        """Apply an envelope; return its answer."""
        for report in reports:
            newest = self.acknowledged.setdefault((worker, journal), 0)
            if report.number <= newest:
                continue
            if report.kind != SNAPSHOT and report.number != newest + 1:
                return newest, True
            self._take(worker, journal, report)
        return self.acknowledged.setdefault((worker, journal), 0), False

    def _take(self, worker: str, journal: str, report: Report) -> None:
        self.acknowledged[worker, journal] = report.number
        if report.kind == SNAPSHOT:
            self.statuses = {key: status for key, status in self.statuses.items() if key[0] != worker}
        for status in report.statuses:
            assert status.run is not None
            self.statuses[worker, status.mirror] = status
            self.runs[worker, journal, status.run.id] = status.run


class Manager(RuleBasedStateMachine):
    """The store, driven by envelopes in any order, several to a transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="skipjack-model-")
        self.store = Store(self.folder.name)
        self.model = Model()
        self.made: list[Delivery] = []
        self.waiting: list[Delivery] = []
        self.numbers: dict[tuple[str, str], int] = {}
        self.run_number = 0

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @rule(worker=WORKERS, journal=JOURNALS, mirrors=strategies.lists(NAMES, max_size=3), data=strategies.data())
    def report(self, worker: str, journal: str, mirrors: list[str], data: strategies.DataObject) -> None:
        """Create a worker's envelope with a report for each mirror."""
        self._make(worker, journal, [self._next(worker, journal, [mirror], "change", data) for mirror in mirrors])

    @rule(worker=WORKERS, journal=JOURNALS, mirrors=strategies.sets(NAMES), data=strategies.data())
    def snapshot(self, worker: str, journal: str, mirrors: set[str], data: strategies.DataObject) -> None:
        """Create a worker's snapshot."""
        self._make(worker, journal, [self._next(worker, journal, sorted(mirrors), SNAPSHOT, data)])

    def _next(self, worker: str, journal: str, mirrors: list[str], kind: str, data: strategies.DataObject) -> Report:
        number = self.numbers[worker, journal] = self.numbers.get((worker, journal), 0) + 1
        return report_of(number, *(self._status(mirror, data.draw(STATUSES)) for mirror in mirrors), kind=kind)

    def _status(self, mirror: str, status: str) -> MirrorStatus:
        self.run_number += 1
        return status_of(mirror, status, run=run_of(self.run_number, status, ended_at=NOW + self.run_number))

    def _make(self, worker: str, journal: str, reports: list[Report]) -> None:
        made = delivery_of(*reports, worker=worker, journal=journal)
        self.made.append(made)
        self.waiting.append(made)

    @precondition(lambda self: self.made)
    @rule(data=strategies.data())
    def repeat(self, data: strategies.DataObject) -> None:
        """Deliver an envelope again, however old it is."""
        self.waiting.append(data.draw(strategies.sampled_from(self.made)))

    @precondition(lambda self: len(self.waiting) > 1)
    @rule(data=strategies.data())
    def mix(self, data: strategies.DataObject) -> None:
        """Reorder the envelopes in transit."""
        self.waiting = data.draw(strategies.permutations(self.waiting))

    @precondition(lambda self: self.waiting)
    @rule()
    def commit(self) -> None:
        """Store all delivered envelopes in one transaction."""
        answers = [tuple(answer) for answer in self.store.apply(self.waiting).answers]
        heard = [item.envelope for item in self.waiting]
        assert answers == [self.model.hear(item.worker, item.journal, item.reports) for item in heard]
        self.waiting.clear()

    @rule()
    def restart(self) -> None:
        """Restart the manager; envelopes in transit are lost."""
        self.store.close()
        self.store = Store(self.folder.name)
        self.waiting.clear()

    @invariant()
    def the_store_knows_what_the_model_knows(self) -> None:
        statuses = self.store.facts().statuses
        assert statuses == self.model.statuses
        with self.store.reading() as reader:
            told = reader.histories(["a", "b", "c"])
        newest = sorted((run.id for run in self.model.runs.values() if run.status != "syncing"), reverse=True)
        assert sorted((past.run.id for runs in told.values() for past in runs), reverse=True)[:20] == newest[:20]


TestManager = Manager.TestCase
TestManager.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
