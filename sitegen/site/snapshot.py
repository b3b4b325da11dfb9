"""The records of a site at one moment, which `evaluate` returns and pages and documents show."""

from collections.abc import Mapping
from typing import NamedTuple

from schemas.clock.freshness import is_of_another_file, lag, moved_at
from schemas.records import Mirror, Site, Worker
from schemas.report import MirrorStatus, Probe, RunProgress
from schemas.states import CLOCK
from sitegen.messages.model import Note, WorkerState

CURRENT, BEHIND, REFUSED, OTHER = "current", "behind", "refused", "other"
"""A worker's revision: the manager's, an earlier one, the one that the manager rejected, or one unknown to it."""


OUTDATED, MISSING = "outdated", "missing"
"""The exported policy of a worker in the config repository, beside CURRENT."""


class Copy(NamedTuple):
    """One worker's copy of a mirror.

    `cause` is why it is not fresh (None while it is). `stale_at` and `unknown_at` are when it turns, Unix seconds.
    `probe` is the upstream comparison by which it is judged; None if none counts or none is configured. `progress` is
    set only while a run is active and its worker reports it, and counts until `progress_until`. On a `held` worker no
    run starts. From `due_at` on the next run `is_due`. `size_text` is the size as a worker of tunasync wrote it.
    """

    worker: str
    definition: Mirror
    status: MirrorStatus
    verdict: str
    cause: str | None
    stale_at: float | None
    unknown_at: float | None
    probe: Probe | None
    progress: RunProgress | None
    progress_until: float | None
    held: bool
    due_at: float | None
    is_due: bool
    size_text: str = ""

    @property
    def compared_another_file(self) -> bool:
        """Whether its last comparison used a file that the configuration no longer names. Used by `compared.html`."""
        return self.status.probe is not None and is_of_another_file(self.definition, self.status.probe)

    @property
    def upstream_is_ahead(self) -> bool:
        """Whether the time in the upstream's file was in the future when it was read."""
        probe = self.status.probe
        return probe is not None and probe.upstream_at is not None and moved_at(probe) is None

    @property
    def last_success_words(self) -> str:
        """The label shown if there is no last success."""
        return "unknown" if self.cause == CLOCK else "never"

    @property
    def lag(self) -> float | None:
        """Seconds from its timestamp to its upstream's when they were compared; None if unknown."""
        return None if self.probe is None else lag(self.probe)


class MirrorView(NamedTuple):
    """A mirror as visitors see it; `best` is the freshest of its copies, the first of `copies`.

    From `stale_at` on no copy is fresh, from `unknown_at` on all are unknown, unless a worker reports before that.
    """

    name: str
    definition: Mirror
    best: Copy
    copies: tuple[Copy, ...]
    stale_at: float | None
    unknown_at: float | None

    @property
    def verdict(self) -> str:
        """The freshness of the best copy."""
        return self.best.verdict

    @property
    def cause(self) -> str | None:
        """Why the best copy is not fresh."""
        return self.best.cause


class ClockSkew(NamedTuple):
    """Seconds by which a worker's clock was ahead (negative: behind), and when (Unix seconds)."""

    ahead: float
    at: float


class WorkerView(NamedTuple):
    """A worker as visitors see it. `state` is None if it was never seen, `standing` if it has no revision to compare.

    `clock` is set for a while after times of its clock were limited. `left` are mirrors that it no longer has but whose
    runs are still active. `exported` is whether the exported policy in the config repository is that of the worker;
    None if one of both is not known.
    """

    name: str
    definition: Worker
    state: WorkerState | None
    silent_at: float | None
    silent: bool
    standing: str | None
    mirrors: int
    clock: ClockSkew | None = None
    left: frozenset[str] = frozenset()
    exported: str | None = None


class Snapshot(NamedTuple):
    """The whole site at `made_at`.

    `counts` is the number of mirrors by freshness, `changes_at` when time alone next changes something, None if never.
    """

    made_at: float
    changes: int
    site: Site
    revision: str | None
    committed_at: float | None
    mirrors: tuple[MirrorView, ...]
    counts: Mapping[str, int]
    workers: tuple[WorkerView, ...]
    problems: tuple[str, ...]
    refused: Note | None
    changes_at: float | None
    unreachable: Note | None = None
