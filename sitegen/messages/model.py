"""What the store knows, as records. Times are Unix seconds; `worker` and `mirror` are names."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.records import Mirror, Site, Worker
from schemas.report import Envelope, MirrorStatus, ReportedProblem, Run, RunProgress

TUNASYNC = "tunasync"
"""Stands in the place of a journal's identity for workers of tunasync, which have none."""


class Token(NamedTuple):
    """A token of a worker, an operator or a reader called `name`: everything but the secret."""

    id: int
    name: str
    scope: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None


class AuditEntry(NamedTuple):
    """One line of the audit: who did what to which subject, when and from where; `details` can be JSON."""

    at: float
    who: str
    action: str
    subject: str
    origin: str
    details: Mapping[str, Any]


class Delivery(NamedTuple):
    """An envelope that has passed every check, and when it arrived by the manager's clock."""

    envelope: Envelope
    received_at: float


class Acknowledgement(NamedTuple):
    """What a worker is told: every report up to `acknowledged` is kept; `snapshot_wanted` after a gap."""

    acknowledged: int
    snapshot_wanted: bool


class AcceptedDeliveries(NamedTuple):
    """A committed batch: an answer for each delivery, and whether any page has to change."""

    answers: list[Acknowledgement]
    news: bool


class WorkerState(NamedTuple):
    """What a worker last said of itself. `sent_at` and the progress are by its own clock, the rest by the manager's.

    On one that is `held` no run starts before a person releases it. `clock_ahead` are the seconds by which its clock
    was found to be ahead at `clock_at`, when its times were last not believed; negative when it was behind.
    """

    name: str
    first_seen: float
    last_seen: float
    sent_at: float
    journal: str
    version: str
    revision: str | None
    slots_total: int
    slots_busy: int
    problems: tuple[ReportedProblem, ...]
    progress: tuple[RunProgress, ...] = ()
    held: bool = False
    clock_ahead: float | None = None
    clock_at: float | None = None


class PastRun(NamedTuple):
    """An ended run and the worker that did it; without the log."""

    worker: str
    run: Run


class DeclaredConfig(NamedTuple):
    """The configuration at the newest revision that was accepted; problems are lines of text."""

    revision: str
    committed_at: float
    site: Site
    workers: Mapping[str, Worker]
    mirrors: tuple[Mirror, ...]
    problems: tuple[str, ...]


class Note(NamedTuple):
    """Why the newest revision is not in use, since when, and which one it is, where that is known."""

    reason: str
    since: float
    revision: str | None = None


class Facts(NamedTuple):
    """Everything that a page may tell, as it was at one moment.

    `changes` rises with everything that alters a page, `statuses` are what each worker last said of each of its
    mirrors (a run's log tail only after a failure), `refused` says why the newest revision is not in use, and
    `unreachable` why the repository cannot be fetched, so that there may be a newer one; `revisions`
    are the commits that were ever in use, `damaged` is what of a worker's mirror, or of the worker itself (`""`),
    cannot be read any more and is missing here. `sizes` are those of workers of tunasync as these wrote them.
    """

    changes: int
    workers: tuple[WorkerState, ...]
    statuses: Mapping[tuple[str, str], MirrorStatus]
    declared: DeclaredConfig | None
    refused: Note | None
    revisions: frozenset[str]
    damaged: Mapping[tuple[str, str], str] = {}
    sizes: Mapping[tuple[str, str], str] = {}
    unreachable: Note | None = None
