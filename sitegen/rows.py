"""Between the store's rows and records: what a message becomes in the database, and back."""

from collections.abc import Sequence
from typing import Any

from schemas.report import MirrorStatus, Run
from schemas.states import ENDS, SUCCESS
from sitegen import codec
from sitegen.accept import Journal
from sitegen.model import Delivery, WorkerState

Row = dict[str, Any]

WORKER_COLUMNS = WorkerState._fields
STATE_COLUMNS = ("worker", *(name for name in MirrorStatus._fields if name != "run"))
"""What `status` expects first, the probe last of it; the run's columns follow."""

_RUN_AT = MirrorStatus._fields.index("run") + 1
_TOLD_ENDS = ENDS - {SUCCESS}
"""Only after such an end is the log's tail of interest, so only then is it kept."""


def of_worker(delivery: Delivery) -> Row:
    """A worker as it describes itself; `first_seen` and `replaced` count only for a new one."""
    envelope, at = delivery.envelope, delivery.received_at
    return {
        "name": envelope.worker,
        "first_seen": at,
        "last_seen": at,
        "sent_at": envelope.sent_at,
        "journal": envelope.journal,
        "version": envelope.version,
        "revision": envelope.revision,
        "slots_total": envelope.slots_total,
        "slots_busy": envelope.slots_busy,
        "problems": codec.encode_problems(envelope.problems),
        "progress": codec.encode_progress(envelope.progress),
        "replaced": 0,
    }


def of_state(key: tuple[str, str], held: tuple[str, MirrorStatus], changed: int) -> Row:
    """A mirror's state by worker and mirror, from the journal that told it and the status."""
    journal, status = held
    row = status._asdict()
    run, row["probe"] = row.pop("run"), codec.encode_probe(status.probe)
    return row | {"worker": key[0], "journal": journal, "run_id": run.id if run else None, "changed": changed}


def of_run(key: tuple[Journal, int], held: tuple[str, Run]) -> Row:
    """A run by journal and number, from its mirror's name and itself."""
    (worker, journal), _ = key
    mirror_name, run = held
    if run.status not in _TOLD_ENDS:
        run = run._replace(log_tail="")
    return run._asdict() | {"worker": worker, "journal": journal, "mirror": mirror_name}


def worker(row: Row) -> WorkerState:
    """Read back what `of_worker` made."""
    decoded = {"problems": codec.decode_problems(row["problems"]), "progress": codec.decode_progress(row["progress"])}
    return WorkerState(**row | decoded)


def status(row: Sequence[Any]) -> MirrorStatus:
    """Read back a state with its run: the columns STATE_COLUMNS, then those of the run, all None without one."""
    run_columns = row[len(STATE_COLUMNS) :]
    run = Run._make(run_columns) if run_columns[0] is not None else None
    *rest, probe = row[_RUN_AT : len(STATE_COLUMNS)]
    return MirrorStatus._make((*row[1:_RUN_AT], run, *rest, codec.decode_probe(probe)))
