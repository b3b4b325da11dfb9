"""Converts messages to the rows of the database, and rows to records."""

from collections.abc import Callable, Sequence
from typing import Any

from schemas.addresses import without_secrets
from schemas.report import MirrorStatus, Override, Run
from schemas.states import ENDS, SUCCESS
from schemas.terminal import plain
from sitegen.messages.model import Delivery, WorkerState
from sitegen.storage import codec, corruption
from sitegen.storage.accept import Condition, JournalKey, condition

RowMapping = dict[str, Any]
Values = tuple[Any, ...]

Damages = dict[tuple[str, str], str]
"""Rows that cannot be decoded, by worker and mirror, or by worker and `""` for the worker's own row."""

_OF_OTHER_TABLES = ("clock_ahead", "clock_at", "policy")

WORKER_COLUMNS = tuple(name for name in WorkerState._fields if name not in _OF_OTHER_TABLES)
STATE_COLUMNS = ("worker", *(name for name in MirrorStatus._fields if name != "run"))
"""The first columns that `status` expects, probe and override last; the run's columns follow."""

_RUN, _PROBE, _OVERRIDE = (MirrorStatus._fields.index(name) for name in ("run", "probe", "override"))
_RUN_AT = _RUN + 1

REPORTED_WORKER = (
    "name",
    "first_seen",
    "sent_at",
    "replaced",
    *Condition._fields,
)
REPORTED_STATE = (
    "worker",
    "journal",
    "changed",
    *("run_id" if name == "run" else name for name in MirrorStatus._fields),
)
REPORTED_RUN = ("worker", "journal", "mirror", *Run._fields)
"""The columns of the rows that `of_worker`, `of_state` and `of_run` return. Statements bind them by position."""

_ENDS_WITH_LOG = ENDS - {SUCCESS}
"""The log's tail is stored only for runs that did not succeed."""


def of_worker(delivery: Delivery) -> Values:
    """Return a worker's row. `first_seen` and `replaced` are stored only for a new worker."""
    envelope, at = delivery.envelope, delivery.received_at
    return (envelope.worker, at, envelope.sent_at, 0, *condition(envelope, at))


def of_state(key: tuple[str, str], held: tuple[str, MirrorStatus], changed: int) -> Values:
    """Return the row of a mirror's state, from its worker and mirror, and its journal and status."""
    journal, status = held
    values: list[Any] = list(status)
    values[_RUN] = status.run.id if status.run else None
    values[_PROBE] = codec.encode_probe(status.probe)
    values[_OVERRIDE] = codec.encode_override(_shown(status.override))
    return (key[0], journal, changed, *values)


def _shown(override: Override | None) -> Override | None:
    """Make text that people typed safe to show, like the texts of a run."""
    if override is None:
        return None
    return override._replace(by=plain(without_secrets(override.by)), reason=plain(without_secrets(override.reason)))


def of_run(key: tuple[JournalKey, int], held: tuple[str, Run]) -> Values:
    """Return the row of a run, from its journal and number, and its mirror's name and record.

    Secrets and control characters are removed from its texts: a program's error can contain the upstream's address, and
    a tunasync worker passes on what an upstream sent.
    """
    mirror_name, run = held
    if run.reason or run.log_tail:
        log_tail = plain(without_secrets(run.log_tail)) if run.status in _ENDS_WITH_LOG else ""
        run = run._replace(reason=plain(without_secrets(run.reason)), log_tail=log_tail)
    return (*key[0], mirror_name, *run)


def worker(row: RowMapping, damaged: Damages) -> WorkerState:
    """Read a row that `of_worker` made. A column that cannot be decoded is left out and added to `damaged`."""
    name, decoded = row["name"], {}
    for column, decode in _OF_WORKER.items():
        try:
            decoded[column] = corruption.read(decode, row[column], f"workers {name}", column)
        except corruption.Damaged as error:
            damaged[name, ""] = error.what
            decoded[column] = ()
    return WorkerState(**row | decoded)


_OF_WORKER: dict[str, Callable[[str], tuple[Any, ...]]] = {
    "problems": codec.decode_problems,
    "progress": codec.decode_progress,
}


def status(row: Sequence[Any], damaged: Damages) -> MirrorStatus:
    """Read a state with its run: the columns STATE_COLUMNS, then those of the run, all None without one.

    A probe or override that cannot be decoded is left out and added to `damaged`.
    """
    run_columns = row[len(STATE_COLUMNS) :]
    run = Run._make(run_columns) if run_columns[0] is not None else None
    *rest, probe, override = row[_RUN_AT : len(STATE_COLUMNS)]
    parts: list[Any] = []
    for column, decode, text in (("probe", codec.decode_probe, probe), ("override", codec.decode_override, override)):
        try:
            parts.append(corruption.read(decode, text, f"mirror_state {row[0]}/{row[1]}", column) if text else None)
        except corruption.Damaged as error:
            damaged[row[0], row[1]] = error.what
            parts.append(None)
    return MirrorStatus._make((*row[1:_RUN_AT], run, *rest, *parts))
