"""Commands for workers, and which worker gets which. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.addresses import without_secrets
from schemas.problems import printable
from sitegen.messages.envelope import RejectedRequest

START, STOP, DISABLE, ENABLE, RESTART, RELOAD, PING = (
    "start", "stop", "disable", "enable", "restart", "reload", "ping",
)  # fmt: skip
OF_WORKERS = frozenset({RELOAD, PING})
"""Kinds that concern a worker and not its mirrors."""

OFF = frozenset({STOP, DISABLE})
"""Kinds that end an active run, also one of a mirror that the worker no longer has."""

QUEUED, DELIVERED, EXPIRED, DONE = "queued", "delivered", "expired", "done"
OPEN = (QUEUED, DELIVERED)
"""States of a command without a result yet."""

NOT_FETCHED = "The worker did not fetch it within `commands_expire`. It will not be delivered."
NOT_ANSWERED = "The worker fetched it, but reported no result within `commands_expire`."
NOT_IN_TIME = "The worker did not answer while the request waited. It will not be delivered."
"""Why a command has expired."""


class CommandRequest(NamedTuple):
    """A command that an operator requests, for one worker or for all that have the mirrors."""

    kind: str
    mirrors: tuple[str, ...]
    force: bool
    worker: str | None
    note: str = ""


class WorkerCommand(NamedTuple):
    """A numbered command and its state; times are Unix seconds, None until they are known."""

    worker: str
    number: int
    kind: str
    mirrors: tuple[str, ...]
    force: bool
    issued_at: float
    issued_by: str
    state: str = QUEUED
    reason: str = ""
    delivered_at: float | None = None
    ended_at: float | None = None
    note: str = ""


class Fetched(NamedTuple):
    """The answer to a worker: the commands that are new to it, and the highest number it was ever given."""

    commands: tuple[WorkerCommand, ...]
    newest: int


SENT = ("number", "kind", "mirrors", "force", "issued_at", "issued_by", "note")
"""The fields of a command that its worker gets."""


def request_of(plain: Mapping[str, Any]) -> CommandRequest:
    """Return a command request from its checked JSON; RejectedRequest if an option does not go with its kind."""
    mirrors = tuple(dict.fromkeys(plain.get("mirrors", ())))
    # On one line: notes are shown in lists, in logs and in the audit.
    note = without_secrets(printable(" ".join(plain.get("note", "").split())))
    wanted = CommandRequest(plain["kind"], mirrors, plain.get("force", False), plain.get("worker"), note)
    kind = wanted.kind
    if kind in OF_WORKERS and mirrors:
        raise RejectedRequest(422, f"$.mirrors: `{kind}` is for workers and takes no mirrors")
    if kind not in OF_WORKERS and not mirrors:
        raise RejectedRequest(422, f"$.mirrors: name the mirrors to {kind}")
    if wanted.force and kind != START:
        raise RejectedRequest(422, f"$.force: only `start` can be forced, not `{kind}`")
    if wanted.note and kind not in OFF:
        raise RejectedRequest(422, f"$.note: only `stop` and `disable` take a note, not `{kind}`")
    return wanted


def targets(wanted: CommandRequest, carried: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    """Return the mirrors of a command by worker; `carried` are the mirrors that each worker has.

    RejectedRequest, for all workers, if there is no such worker or no worker has one of the mirrors.
    """
    if wanted.worker is not None and wanted.worker not in carried:
        raise RejectedRequest(404, f"there is no worker {wanted.worker}")
    workers: Sequence[str] = sorted(carried) if wanted.worker is None else [wanted.worker]
    if wanted.kind in OF_WORKERS:
        return dict.fromkeys(workers, ())
    _require_all(wanted, [carried[worker] for worker in workers])
    found = {worker: tuple(name for name in wanted.mirrors if name in carried[worker]) for worker in workers}
    return {worker: mirrors for worker, mirrors in found.items() if mirrors}


def _require_all(wanted: CommandRequest, carried: Iterable[frozenset[str]]) -> None:
    known = frozenset[str]().union(*carried)
    missing = [name for name in wanted.mirrors if name not in known]
    if missing:
        where = f"worker {wanted.worker} has" if wanted.worker else "there is"
        # A request may name thousands of mirrors, and the message should stay readable.
        raise RejectedRequest(404, f"{where} no mirror {', '.join(missing[:20])}")
