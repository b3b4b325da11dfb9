"""Between the store's rows and records: what a message becomes in the database, and back."""

from collections.abc import Callable, Sequence
from typing import Any

from schemas.addresses import without_secrets
from schemas.report import MirrorStatus, Override, Run
from schemas.states import ENDS, SUCCESS
from schemas.terminal import plain
from sitegen.messages.model import Delivery, WorkerState
from sitegen.storage import codec, corruption
from sitegen.storage.accept import JournalKey

RowMapping = dict[str, Any]
Values = tuple[Any, ...]

Damages = dict[tuple[str, str], str]
"""What cannot be read, by worker and mirror, or by worker and `""` for what it told of itself."""

WORKER_COLUMNS = tuple(name for name in WorkerState._fields if not name.startswith("clock_"))
STATE_COLUMNS = ("worker", *(name for name in MirrorStatus._fields if name != "run"))
"""What `status` expects first, the probe and the override last of it; the run's columns follow."""

_RUN, _PROBE, _OVERRIDE = (MirrorStatus._fields.index(name) for name in ("run", "probe", "override"))
_RUN_AT = _RUN + 1

TOLD_WORKER = (
    "name",
    "first_seen",
    "last_seen",
    "sent_at",
    "journal",
    "version",
    "revision",
    "slots_total",
    "slots_busy",
    "problems",
    "progress",
    "replaced",
    "held",
)
TOLD_STATE = ("worker", "journal", "changed", *("run_id" if name == "run" else name for name in MirrorStatus._fields))
TOLD_RUN = ("worker", "journal", "mirror", *Run._fields)
"""The columns of what `of_worker`, `of_state` and `of_run` give: values by place, many to a statement."""

_TOLD_ENDS = ENDS - {SUCCESS}
"""Only after such an end is the log's tail of interest, so only then is it kept."""


def of_worker(delivery: Delivery) -> Values:
    """A worker as it describes itself; `first_seen` and `replaced` count only for a new one."""
    envelope, at = delivery.envelope, delivery.received_at
    return (
        envelope.worker,
        at,
        at,
        envelope.sent_at,
        envelope.journal,
        envelope.version,
        envelope.revision,
        envelope.slots_total,
        envelope.slots_busy,
        codec.encode_problems(envelope.problems),
        codec.encode_progress(envelope.progress),
        0,
        envelope.held,
    )


def of_state(key: tuple[str, str], held: tuple[str, MirrorStatus], changed: int) -> Values:
    """A mirror's state by worker and mirror, from the journal that told it and the status."""
    journal, status = held
    values: list[Any] = list(status)
    values[_RUN] = status.run.id if status.run else None
    values[_PROBE] = codec.encode_probe(status.probe)
    values[_OVERRIDE] = codec.encode_override(_shown(status.override))
    return (key[0], journal, changed, *values)


def _shown(override: Override | None) -> Override | None:
    """What people typed, spelled out as the texts of a run are."""
    if override is None:
        return None
    return override._replace(by=plain(without_secrets(override.by)), reason=plain(without_secrets(override.reason)))


def of_run(key: tuple[JournalKey, int], held: tuple[str, Run]) -> Values:
    """A run by journal and number, from its mirror's name and itself; a program that fails can name its upstream.

    Its texts are spelled out for terminals, JSON and pages: a tunasync worker passes on what an upstream said.
    """
    mirror_name, run = held
    if run.reason or run.log_tail:
        log_tail = plain(without_secrets(run.log_tail)) if run.status in _TOLD_ENDS else ""
        run = run._replace(reason=plain(without_secrets(run.reason)), log_tail=log_tail)
    return (*key[0], mirror_name, *run)


def worker(row: RowMapping, damaged: Damages) -> WorkerState:
    """Read back what `of_worker` made; what cannot be read is noted and left out."""
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
    """Read back a state with its run: the columns STATE_COLUMNS, then those of the run, all None without one.

    A probe or an override that cannot be read is noted and left out.
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
