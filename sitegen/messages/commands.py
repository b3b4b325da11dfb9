"""Commands for workers as records, and which worker gets which: pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from schemas.addresses import without_secrets
from schemas.problems import printable
from sitegen.messages.envelope import RejectedRequest

START, STOP, DISABLE, ENABLE, RESTART, RELOAD, PING = (
    "start", "stop", "disable", "enable", "restart", "reload", "ping",
)  # fmt: skip
OF_WORKERS = frozenset({RELOAD, PING})
"""Kinds that concern a worker and none of its mirrors."""

OFF = frozenset({STOP, DISABLE})
"""Kinds that end a run under way, also one of a mirror that the worker no longer has."""

QUEUED, DELIVERED, EXPIRED, DONE = "queued", "delivered", "expired", "done"
OPEN = (QUEUED, DELIVERED)
"""States of a command whose end nobody has told yet."""

NOT_TAKEN = "The worker did not take it within the time of `commands_expire`, and will not get it any more."
NOT_ANSWERED = "The worker had it, and did not say within the time of `commands_expire` what became of it."
NOT_IN_TIME = "The worker did not answer while somebody waited for it, and will not get it any more."
"""Why a command has expired."""


class CommandRequest(NamedTuple):
    """What an operator wants, of all workers that have the mirrors or of one."""

    kind: str
    mirrors: tuple[str, ...]
    force: bool
    worker: str | None
    note: str = ""


class WorkerCommand(NamedTuple):
    """A numbered command and what has become of it; times are Unix seconds, None before they have come."""

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
    """What a worker gets: the commands that are new to it, and the highest number it was ever given."""

    commands: tuple[WorkerCommand, ...]
    newest: int


TOLD = ("number", "kind", "mirrors", "force", "issued_at", "issued_by", "note")
"""What a worker is told of a command."""


def order_of(plain: Mapping[str, Any]) -> CommandRequest:
    """An order from its checked JSON; RejectedRequest when its mirrors do not go with its kind."""
    mirrors = tuple(dict.fromkeys(plain.get("mirrors", ())))
    note = without_secrets(printable(" ".join(plain.get("note", "").split())))
    order = CommandRequest(plain["kind"], mirrors, plain.get("force", False), plain.get("worker"), note)
    if order.kind in OF_WORKERS and mirrors:
        raise RejectedRequest(422, f"$.mirrors: {order.kind} is for workers and takes no mirrors")
    if order.kind not in OF_WORKERS and not mirrors:
        raise RejectedRequest(422, f"$.mirrors: name the mirrors to {order.kind}")
    if order.force and order.kind != START:
        raise RejectedRequest(422, f"$.force: only a start can be forced, and no {order.kind}")
    if order.note and order.kind not in OFF:
        raise RejectedRequest(422, f"$.note: only a stop and a disable have a note, and no {order.kind}")
    return order


def targets(order: CommandRequest, carried: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    """The mirrors that each worker is to treat so; `carried` are the mirrors that each worker has.

    Refused, and then for nobody, when there is no such worker or nobody has one of the mirrors.
    """
    if order.worker is not None and order.worker not in carried:
        raise RejectedRequest(404, f"there is no worker {order.worker}")
    wanted: Sequence[str] = sorted(carried) if order.worker is None else [order.worker]
    if order.kind in OF_WORKERS:
        return dict.fromkeys(wanted, ())
    _all_there(order, [carried[worker] for worker in wanted])
    found = {worker: tuple(name for name in order.mirrors if name in carried[worker]) for worker in wanted}
    return {worker: mirrors for worker, mirrors in found.items() if mirrors}


def _all_there(order: CommandRequest, carried: Iterable[frozenset[str]]) -> None:
    known = frozenset[str]().union(*carried)
    missing = [name for name in order.mirrors if name not in known]
    if missing:
        where = f"worker {order.worker} has" if order.worker else "there is"
        raise RejectedRequest(404, f"{where} no mirror {', '.join(missing[:20])}")
