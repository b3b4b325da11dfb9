"""The messages from a worker to the manager, as records and as JSON.

A *report* is one numbered message of a worker's outbox; an *envelope* is one HTTP request with a batch of reports and
the worker's own state. `files/report.schema.json` describes the envelope. Times are seconds since 1970 UTC on the
worker's clock, durations are seconds, sizes bytes; None means unknown. Only cheap imports here: every run builds a
report.
"""

from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

PROTOCOL = 1
"""Version of the message. A manager accepts workers one version older and newer."""

CHANGE = "change"
SNAPSHOT = "snapshot"


class Run(NamedTuple):
    """One run of one mirror, finished or in progress.

    `free_space` are the bytes that were free for the worker's user on the directory's file system at its end.
    """

    id: int
    status: str
    launched_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    attempts: int = 0
    exit_code: int | None = None
    reason: str = ""
    duration: float | None = None
    bytes: int | None = None
    files: int | None = None
    size: int | None = None
    log_tail: str = ""
    revision: str | None = None
    free_space: int | None = None


class Probe(NamedTuple):
    """A comparison of the upstream's timestamp file with the mirror's own; None for unknown values.

    `problem`: why one of them could not be read, then or in a later attempt. `even_at`: the last time at which the
    mirror was known not to be behind. `file`: the compared file; None from an older worker. `seen_at`: when an answer
    of the upstream last contained its time; of several servers behind one name the newest time counts.
    """

    at: float
    upstream_at: float | None = None
    own_at: float | None = None
    same: bool | None = None
    problem: str = ""
    even_at: float | None = None
    file: str | None = None
    seen_at: float | None = None


class Override(NamedTuple):
    """An override of a mirror's schedule: `paused` or `disabled`, since when, by whom, and why.

    Unknown values are None for `since` and empty for texts.
    """

    kind: str
    since: float | None = None
    by: str = ""
    reason: str = ""


class MirrorStatus(NamedTuple):
    """The state of one mirror on one worker. `override` is None if it follows its schedule, or the worker is too old to
    report it."""

    mirror: str
    upstream: str
    is_master: bool
    status: str
    run: Run | None = None
    last_started_at: float | None = None
    last_ended_at: float | None = None
    last_success_at: float | None = None
    next_run_at: float | None = None
    size: int | None = None
    probe: Probe | None = None
    override: Override | None = None


class Report(NamedTuple):
    """One numbered message: a `change` of one mirror, or a `snapshot` of all with runs that the manager may miss."""

    number: int
    made_at: float
    kind: str
    statuses: tuple[MirrorStatus, ...]
    runs: tuple[tuple[str, Run], ...] = ()


class ReportedProblem(NamedTuple):
    """A problem that a worker has with the configuration, with its message."""

    mirror: str | None
    place: str
    what: str
    todo: str


class RunProgress(NamedTuple):
    """The progress of a run at the time `at`: percent, bytes, bytes per second, files transferred."""

    mirror: str
    at: float
    percent: float | None = None
    bytes: int | None = None
    speed: int | None = None
    files: int | None = None


class Envelope(NamedTuple):
    """One request of the courier; with `held` no run starts on the worker before an operator releases it.

    `policy` is the digest of the worker's exported policy, None if it is not known. `leftovers` is the number of things
    on its machine without a definition, None if it was not counted. `rejected` is the newest
    revision if the worker rejected it. `signer` and `signing_key` are who signed the revision in force, and the key's
    fingerprint; None if the worker did not verify it. `pinned_until` is when the pin to an earlier revision ends, None
    without a pin; `pinned_by` and `pin_reason` are who made it, and why.
    """

    worker: str
    journal: str
    sent_at: float
    version: str
    revision: str | None
    slots_total: int
    slots_busy: int
    problems: tuple[ReportedProblem, ...]
    reports: tuple[Report, ...]
    progress: tuple[RunProgress, ...] = ()
    protocol: int = PROTOCOL
    held: bool = False
    policy: str | None = None
    leftovers: int | None = None
    rejected: str | None = None
    signer: str | None = None
    signing_key: str | None = None
    pinned_until: float | None = None
    pinned_by: str | None = None
    pin_reason: str | None = None


HIGHEST = 2**62
"""The highest number of bytes or files in a report."""

_Range = tuple[float, float]
Bounds = Mapping[str, int | _Range]
"""For each key the length of a text, or the range of a number; the schema has the same.

Texts come from programs and upstreams, and so do numbers; a clock may be wrong by decades. A manager rejects a whole
report for one value out of bounds, so the worker cuts them.
"""

_TIME: _Range = (0, 10**11)
_COUNT: _Range = (0, HIGHEST)

RUN_BOUNDS: Bounds = {
    "launched_at": _TIME, "started_at": _TIME, "ended_at": _TIME, "attempts": (0, 10**6), "exit_code": (-255, 255),
    "reason": 2000, "duration": (0, 10**9), "bytes": _COUNT, "files": _COUNT, "size": _COUNT, "log_tail": 16384,
    "free_space": _COUNT,
}  # fmt: skip
PROBE_BOUNDS: Bounds = {
    "at": _TIME, "upstream_at": _TIME, "own_at": _TIME, "problem": 1000, "even_at": _TIME, "file": 1000,
    "seen_at": _TIME,
}  # fmt: skip
OVERRIDE_BOUNDS: Bounds = {"since": _TIME, "by": 200, "reason": 500}
STATUS_BOUNDS: Bounds = {
    "upstream": 2000, "last_started_at": _TIME, "last_ended_at": _TIME, "last_success_at": _TIME,
    "next_run_at": _TIME, "size": _COUNT,
}  # fmt: skip
PROGRESS_BOUNDS: Bounds = {
    "at": _TIME, "percent": (0, 10**18), "bytes": _COUNT, "speed": _COUNT, "files": _COUNT,
}  # fmt: skip
PROBLEM_BOUNDS: Bounds = {"place": 1000, "what": 4000, "todo": 4000}
REPORT_BOUNDS: Bounds = {"made_at": _TIME}
ENVELOPE_BOUNDS: Bounds = {
    "sent_at": _TIME, "version": 64, "slots_total": (0, 100_000), "slots_busy": (0, 100_000), "leftovers": (0, 10**9),
    "signer": 200, "signing_key": 100, "pinned_until": _TIME, "pinned_by": 200, "pin_reason": 500,
}  # fmt: skip

MOST_ITEMS = 10_000
"""Problems, or runs with their progress, in one envelope at most."""

_PARTS = (("run", RUN_BOUNDS), ("probe", PROBE_BOUNDS), ("override", OVERRIDE_BOUNDS))

_ENDS = frozenset({"log_tail"})
"""Texts of which the end is kept."""


def bounded(plain: dict[str, Any], bounds: Bounds) -> dict[str, Any]:
    """Cut the values of `plain` to their bounds, in place."""
    for key, bound in bounds.items():
        value = plain.get(key)
        if value is None:
            continue
        if isinstance(bound, int):
            if len(value) > bound:
                plain[key] = value[-bound:] if key in _ENDS else f"{value[: bound - 1]}…"
        elif not bound[0] <= value <= bound[1]:
            plain[key] = bound[1] if value > bound[1] else bound[0]
    return plain


def bounded_status(plain: dict[str, Any]) -> dict[str, Any]:
    """Cut a status and its parts to their bounds, in place."""
    bounded(plain, STATUS_BOUNDS)
    for part, bounds in _PARTS:
        if plain.get(part) is not None:
            bounded(plain[part], bounds)
    return plain


def encode_status(status: MirrorStatus) -> dict[str, Any]:
    """Return a status as a JSON object, cut to the bounds of the schema."""
    plain = status._asdict()
    for part in ("run", "probe", "override"):
        if plain[part] is not None:
            plain[part] = plain[part]._asdict()
    return bounded_status(plain)


def encode_content(statuses: tuple[MirrorStatus, ...], runs: tuple[tuple[str, Run], ...] = ()) -> dict[str, Any]:
    """Return the part of a report that the worker's outbox stores as JSON; number, time and kind have own columns."""
    return {
        "statuses": [encode_status(status) for status in statuses],
        "runs": [{"mirror": mirror, **bounded(run._asdict(), RUN_BOUNDS)} for mirror, run in runs],
    }


def encode_envelope(envelope: Envelope, reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return an envelope as a JSON object, with `reports` (JSON objects from the outbox) instead of its records."""
    plain = bounded(envelope._asdict(), ENVELOPE_BOUNDS)
    # A manager rejects an envelope with more of them.
    plain["problems"] = [_encode_problem(problem) for problem in envelope.problems[:MOST_ITEMS]]
    progress = envelope.progress[:MOST_ITEMS]
    plain["progress"] = [bounded(each._asdict(), PROGRESS_BOUNDS) for each in progress]
    plain["reports"] = reports
    return plain


def _encode_problem(problem: ReportedProblem) -> dict[str, Any]:
    """Return a problem as a JSON object within the schema: an invalid name, which may be the problem, becomes None."""
    from schemas.names import is_name  # no run needs it

    plain = bounded(problem._asdict(), PROBLEM_BOUNDS)
    if problem.mirror is not None and not is_name(problem.mirror):
        plain["mirror"] = None
    return plain


def decode_status(plain: dict[str, Any]) -> MirrorStatus:
    """Decode a status; unknown keys of a newer worker are ignored."""
    values = list(_read_status(plain))
    values[_RUN] = decode_run(values[_RUN]) if values[_RUN] else None
    values[_PROBE] = decode_probe(values[_PROBE]) if values[_PROBE] else None
    values[_OVERRIDE] = decode_override(values[_OVERRIDE]) if values[_OVERRIDE] else None
    return MirrorStatus._make(values)


def decode_override(plain: dict[str, Any]) -> Override:
    """Decode an override; unknown keys of a newer worker are ignored."""
    return Override._make(_read_override(plain))


def decode_probe(plain: dict[str, Any]) -> Probe:
    """Decode a probe; unknown keys of a newer worker are ignored."""
    return Probe._make(_read_probe(plain))


def decode_run(plain: dict[str, Any]) -> Run:
    """Decode a run; unknown keys of a newer worker are ignored."""
    return Run._make(_read_run(plain))


def decode_envelope(plain: dict[str, Any]) -> Envelope:
    """Decode an envelope that is valid by `report.schema.json`; anything else may raise KeyError or TypeError."""
    found = _read_envelope(plain)
    problems, reports, progress = found[_ITEMS]
    parts = (
        tuple([ReportedProblem._make(_read_problem(item)) for item in problems]),
        tuple([_decode_report(item) for item in reports]),
        tuple([RunProgress._make(_read_progress(item)) for item in progress]),
    )
    return Envelope._make((*found[: _ITEMS.start], *parts, *found[_ITEMS.stop :]))


def _decode_report(plain: dict[str, Any]) -> Report:
    return Report(
        plain["number"],
        plain["made_at"],
        plain["kind"],
        tuple([decode_status(item) for item in plain["statuses"]]),
        tuple([(item["mirror"], decode_run(item)) for item in plain.get("runs", ())]),
    )


def _reader(record: Any) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """Return a function that reads a record's fields from a dict, fast if none is missing: every request uses it."""
    whole, defaults = itemgetter(*record._fields), record._field_defaults

    def read(plain: dict[str, Any]) -> tuple[Any, ...]:
        try:
            values: tuple[Any, ...] = whole(plain)
        except KeyError:
            values = whole({**defaults, **plain})
        return values

    return read


_RUN, _PROBE, _OVERRIDE = (MirrorStatus._fields.index(name) for name in ("run", "probe", "override"))
_read_status = _reader(MirrorStatus)
_read_probe = _reader(Probe)
_read_override = _reader(Override)
_read_run = _reader(Run)
_read_envelope = _reader(Envelope)
_ITEMS = slice(Envelope._fields.index("problems"), Envelope._fields.index("progress") + 1)
"""The place of an envelope's problems, reports and progress, which are records."""

_read_problem = _reader(ReportedProblem)
_read_progress = _reader(RunProgress)
