"""Stores commands, numbered per worker without gaps. They are committed before a worker or an operator sees them.

Times are Unix seconds by the manager's clock.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, case, delete, func, insert, select, true, update

from sitegen.messages.commands import (
    DELIVERED,
    DISABLE,
    DONE,
    EXPIRED,
    NOT_ANSWERED,
    NOT_FETCHED,
    NOT_IN_TIME,
    OPEN,
    QUEUED,
    STOP,
    CommandRequest,
    Fetched,
    WorkerCommand,
)
from sitegen.messages.envelope import RejectedRequest
from sitegen.messages.model import AuditEntry
from sitegen.storage import audit_store, corruption
from sitegen.storage.store import Store
from sitegen.storage.tables import command_numbers, commands

MOST_OPEN = 1000
"""Open commands of one worker. More are rejected, because the worker does not fetch them."""

AT_ONCE = 500
"""Commands in one answer."""

MIRRORS_AT_ONCE = 20_000
"""Mirrors in all commands of one answer, because a worker reads at most 4 MiB."""

KEPT = 90 * 86400.0
"""Seconds for which an ended command is stored."""

_COLUMNS = [commands.c[name] for name in WorkerCommand._fields]


def add(
    store: Store, order: CommandRequest, wanted: Mapping[str, tuple[str, ...]], by: AuditEntry
) -> list[WorkerCommand]:
    """Store a command for each worker with its mirrors, issued by `by`; RejectedRequest when too many are open."""
    with store.transaction(writing=True) as tx:
        return [_add(tx, order, worker, mirrors, by) for worker, mirrors in wanted.items()]


def _add(tx: Connection, order: CommandRequest, worker: str, mirrors: tuple[str, ...], by: AuditEntry) -> WorkerCommand:
    # Here, since only a worker that gets commands collects old ones.
    tx.execute(delete(commands).where(commands.c.worker == worker, commands.c.ended_at < by.at - KEPT))
    count = select(func.count()).where(commands.c.worker == worker, commands.c.state.in_(OPEN))
    if tx.execute(count).scalar_one() >= MOST_OPEN:
        raise RejectedRequest(409, f"worker {worker} has {MOST_OPEN} open commands already and does not fetch them")
    number = _next_number(tx, worker)
    command = WorkerCommand(worker, number, order.kind, mirrors, order.force, by.at, by.who, note=order.note)
    tx.execute(insert(commands).values(command._asdict() | {"mirrors": json.dumps(mirrors)}))
    details = {"number": command.number, "mirrors": list(mirrors), "force": order.force}
    details |= {"note": order.note} if order.note else {}
    audit_store.write(tx, by._replace(action=f"command {order.kind}", subject=worker, details=details))
    return command


def _next_number(tx: Connection, worker: str) -> int:
    mine = command_numbers.c.worker == worker
    raised = update(command_numbers).where(mine).values(newest=command_numbers.c.newest + 1)
    number = tx.execute(raised.returning(command_numbers.c.newest)).scalar()
    if number is None:
        tx.execute(insert(command_numbers).values(worker=worker, newest=1))
        return 1
    return int(number)


def fetch(store: Store, worker: str, after: int, now: float, since: float = 0.0) -> Fetched:
    """Return the open commands after a number, issued from `since` on, oldest first. Lower ones become delivered.

    If the worker has a higher number than was ever issued, the database was restored from a backup: numbers continue
    after the worker's.
    """
    mine = commands.c.worker == worker
    with store.transaction() as tx:
        # Reads first: most requests find nothing new, and write transactions wait for one another.
        highest = tx.execute(select(command_numbers.c.newest).where(command_numbers.c.worker == worker)).scalar() or 0
        # `after` is the highest number that the worker has stored. Sending alone proves nothing: answers can be lost.
        undelivered = mine & (commands.c.state == QUEUED) & (commands.c.number <= after)
        is_news = tx.execute(select(func.count()).where(undelivered)).scalar_one() > 0 or after > highest
        later = select(*_COLUMNS).where(mine, commands.c.number > after, commands.c.state.in_(OPEN))
        # Commands are marked as expired once an hour; overdue ones must not be delivered until then.
        later = later.where(commands.c.issued_at >= since)
        rows = tx.execute(later.order_by(commands.c.number).limit(AT_ONCE)).all()
    if is_news:
        with store.transaction(writing=True) as tx:
            tx.execute(update(commands).where(undelivered).values(state=DELIVERED, delivered_at=now))
            _raise_number(tx, worker, after)
    return Fetched(_bounded(_readable(rows)), max(int(highest), after))


def _bounded(found: Iterable[WorkerCommand]) -> tuple[WorkerCommand, ...]:
    """Return the first commands that fit into one answer, at least one. The next answer has the others."""
    fit: list[WorkerCommand] = []
    mirrors = 0
    for command in found:
        mirrors += len(command.mirrors)
        if fit and mirrors > MIRRORS_AT_ONCE:
            break
        fit.append(command)
    return tuple(fit)


def newest(store: Store) -> dict[str, int]:
    """Return the highest number that was ever issued to each worker."""
    with store.transaction() as tx:
        rows = tx.execute(select(command_numbers.c.worker, command_numbers.c.newest))
        return {str(row[0]): int(row[1]) for row in rows}


def _raise_number(tx: Connection, worker: str, least: int) -> None:
    mine = command_numbers.c.worker == worker
    highest = tx.execute(select(command_numbers.c.newest).where(mine)).scalar()
    if highest is None and least:
        tx.execute(insert(command_numbers).values(worker=worker, newest=least))
    elif highest is not None and highest < least:
        tx.execute(update(command_numbers).where(mine).values(newest=least))


def finish(store: Store, worker: str, results: Sequence[tuple[int, str, str]], now: float) -> int:
    """Store results of commands (number, state, reason); return how many were new.

    A result also replaces `expired`, because only the worker knows whether it executed the command.
    """
    open_one = (commands.c.worker == worker) & commands.c.state.in_((*OPEN, EXPIRED))
    taken = 0
    with store.transaction(writing=True) as tx:
        for number, state, reason in results:
            mine = open_one & (commands.c.number == number)
            # A result proves the delivery, even if no later request has confirmed it.
            delivered = func.coalesce(commands.c.delivered_at, now)
            values = {"state": state, "reason": reason, "ended_at": now, "delivered_at": delivered}
            taken += tx.execute(update(commands).where(mine).values(values)).rowcount
    return taken


def expire(store: Store, before: float, now: float, worker: str | None = None) -> int:
    """Expire the open commands of one worker, or of all, that were issued before a moment; return how many."""
    old = commands.c.state.in_(OPEN) & (commands.c.issued_at < before)
    old &= true() if worker is None else commands.c.worker == worker
    with store.transaction() as tx:  # there is hardly ever one, and a writing transaction would block other writers
        if not tx.execute(select(func.count()).where(old)).scalar_one():
            return 0
    reason = case((commands.c.state == QUEUED, NOT_FETCHED), else_=NOT_ANSWERED)
    with store.transaction(writing=True) as tx:
        return tx.execute(update(commands).where(old).values(state=EXPIRED, reason=reason, ended_at=now)).rowcount


def expire_one(store: Store, worker: str, number: int, now: float) -> None:
    """Expire one command if it is still open, because its request no longer waits."""
    one = (commands.c.worker == worker) & (commands.c.number == number) & commands.c.state.in_(OPEN)
    with store.transaction(writing=True) as tx:
        tx.execute(update(commands).where(one).values(state=EXPIRED, reason=NOT_IN_TIME, ended_at=now))


def find(store: Store, worker: str, number: int) -> WorkerCommand | None:
    """Return one command, None if there is none."""
    with store.transaction() as tx:
        which = select(*_COLUMNS).where(commands.c.worker == worker, commands.c.number == number)
        row = tx.execute(which).one_or_none()
    return None if row is None else _command(row)


def page(store: Store, worker: str, before: int, limit: int) -> list[WorkerCommand]:
    """Return a worker's commands below a number, newest first."""
    which = select(*_COLUMNS).where(commands.c.worker == worker, commands.c.number < before)
    with store.transaction() as tx:
        return [_shown(row) for row in tx.execute(which.order_by(commands.c.number.desc()).limit(limit))]


def last_overriding(store: Store) -> dict[tuple[str, str], WorkerCommand]:
    """Return the last executed command by worker and mirror, if it stops or disables the mirror."""
    which = select(*_COLUMNS).where(commands.c.state == DONE).order_by(commands.c.worker, commands.c.number)
    found: dict[tuple[str, str], WorkerCommand] = {}
    with store.transaction() as tx:
        for command in _readable(tx.execute(which)):
            # In the order of their numbers, so the last command about a mirror stays.
            found.update(((command.worker, mirror), command) for mirror in command.mirrors)
    return {key: command for key, command in found.items() if command.kind in (STOP, DISABLE)}


def _readable(rows: Iterable[Sequence[object]]) -> Iterator[WorkerCommand]:
    """Return the commands that can be decoded. A damaged one is skipped, and expires."""
    return corruption.sound(partial(_command, row) for row in rows)


def _shown(row: Sequence[object]) -> WorkerCommand:
    """Return a command, with the error as its reason if it cannot be decoded."""
    try:
        return _command(row)
    except corruption.Damaged as error:
        return WorkerCommand._make(row)._replace(mirrors=(), reason=error.what)


def _command(row: Sequence[object]) -> WorkerCommand:
    plain = WorkerCommand._make(row)
    mirrors = corruption.read(decode_mirrors, plain.mirrors, f"commands {plain.worker}/{plain.number}", "mirrors")
    return plain._replace(mirrors=mirrors, force=bool(plain.force))


def decode_mirrors(text: Any) -> tuple[str, ...]:
    """Decode a command's mirrors."""
    return tuple(map(str, json.loads(text)))
