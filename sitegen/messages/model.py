"""The records of the store. Times are Unix seconds; `worker` and `mirror` are names."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.records import Mirror, Site, Worker
from schemas.report import Envelope, MirrorStatus, ReportedProblem, Run, RunProgress

TUNASYNC = "tunasync"
"""The journal identity of workers of tunasync, which have no journal."""


class Token(NamedTuple):
    """A token of a worker, an operator or a reader called `name`, without the secret."""

    id: int
    name: str
    scope: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None


class AuditEntry(NamedTuple):
    """One line of the audit log: who did what to which subject, when and from where. `details` is JSON-serializable."""

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


class DeliveryAcknowledgement(NamedTuple):
    """The answer to a worker: every report up to `acknowledged` is stored; `snapshot_wanted` after a gap."""

    acknowledged: int
    snapshot_wanted: bool


class AcceptedDeliveries(NamedTuple):
    """A committed batch: an answer for each delivery, and whether any page must change."""

    answers: list[DeliveryAcknowledgement]
    news: bool


class WorkerState(NamedTuple):
    """A worker's last state. `sent_at` and the progress are by its own clock, the rest by the manager's.

    On a `held` worker no run starts until a person releases it. `clock_ahead` is by how many seconds its clock was
    ahead (negative: behind) at `clock_at`, when its times were last limited. `policy` is the digest of the exported
    policy that it reported, if it did. `leftovers` is the number of things on its machine without a definition, None if
    it did not count them. `rejected`, `signer`, `signing_key` and all about a pin are as in its envelope.
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
    rejected: str | None = None
    signer: str | None = None
    signing_key: str | None = None
    clock_ahead: float | None = None
    clock_at: float | None = None
    policy: str | None = None
    leftovers: int | None = None
    pinned_until: float | None = None
    pinned_by: str | None = None
    pin_reason: str | None = None


class PastRun(NamedTuple):
    """An ended run and its worker, without the log."""

    worker: str
    run: Run


class DeclaredConfig(NamedTuple):
    """The configuration at the newest accepted revision; problems are lines of text.

    `policies` has the digest of each exported policy in it, by worker, empty for an invalid one.
    """

    revision: str
    committed_at: float
    site: Site
    workers: Mapping[str, Worker]
    mirrors: tuple[Mirror, ...]
    problems: tuple[str, ...]
    policies: Mapping[str, str] = {}


class Note(NamedTuple):
    """Why the newest revision is not in use, since when, and which one it is, if known."""

    reason: str
    since: float
    revision: str | None = None


class Facts(NamedTuple):
    """Everything that pages are made from, at one moment.

    `changes` rises with every write that changes a page. `statuses` are the last ones that each worker reported of its
    mirrors (a run's log tail only after a failure). `refused` is why the newest revision is not in use, `unreachable`
    why the repository cannot be fetched. `revisions` are all commits that were ever in use. `damaged` are the mirrors
    of workers, or the workers themselves (`""`), whose rows cannot be read and are missing here. `sizes` are the sizes
    as workers of tunasync wrote them.
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
