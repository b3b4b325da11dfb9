"""What is so at one moment, as `judge` finds it and pages and documents tell it."""

from collections.abc import Mapping
from typing import NamedTuple

from schemas.clock.freshness import is_of_another_file, lag, moved_at
from schemas.records import Mirror, Site, Worker
from schemas.report import MirrorStatus, Probe, RunProgress
from schemas.states import CLOCK
from sitegen.messages.model import Note, WorkerState

CURRENT, BEHIND, REFUSED, OTHER = "current", "behind", "refused", "other"
"""A worker's revision: the manager's, one that it had before, the one that it refuses, or one that it does not know."""


class Copy(NamedTuple):
    """One worker's copy of a mirror.

    `cause` says why it is not fresh (None while it is), `stale_at` and `unknown_at` are the moments at which it turns,
    Unix seconds. `probe` is the comparison with its upstream by which it is judged; None when none counts or none is
    wanted. `progress` is there only while a run is under way and its worker tells it, and counts until
    `progress_until`. On a worker that is `held` no run starts. From `due_at` on the next run `is_due` and not
    planned. `size_text` is the size as a worker of tunasync wrote it.
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
        """Whether its last comparison was that of a file which the configuration does not name any more.

        The template `compared.html` asks.
        """
        return self.status.probe is not None and is_of_another_file(self.definition, self.status.probe)

    @property
    def upstream_is_ahead(self) -> bool:
        """Whether the upstream's file has a time that lay in the future when it was read."""
        probe = self.status.probe
        return probe is not None and probe.upstream_at is not None and moved_at(probe) is None

    @property
    def last_success_words(self) -> str:
        """The label shown if there is no last success."""
        return "unknown" if self.cause == CLOCK else "never"

    @property
    def lag(self) -> float | None:
        """Seconds from its stamp to its upstream's when they were compared; None when that cannot be told."""
        return None if self.probe is None else lag(self.probe)


class MirrorView(NamedTuple):
    """A mirror as visitors see it; `best` is the freshest of its copies, the first of `copies`.

    From `stale_at` on no copy is fresh any more, from `unknown_at` on none is known, unless a worker says more.
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
    """By how many seconds a worker's clock was ahead at a moment (Unix seconds), negative when it was behind."""

    ahead: float
    at: float


class WorkerView(NamedTuple):
    """A worker as people see it; never heard of without `state`, and with nothing to follow without `standing`.

    `clock` is there for a while after times of its clock were not believed. `left` are mirrors that it no longer has
    and whose runs there are still under way.
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


class Snapshot(NamedTuple):
    """The whole site at `made_at`.

    `counts` says how many mirrors have each freshness, `changes_at` when something changes by itself, None when nothing
    does.
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
