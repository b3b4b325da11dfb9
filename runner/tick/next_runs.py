"""`skipjack next`: when each mirror runs next, and why not now. It decides as a tick does, and changes nothing."""

import json
import time
from collections.abc import Collection
from datetime import datetime, tzinfo
from typing import Any, NamedTuple

from runner.base.output import log, say
from runner.base.state_dir import StateLayout
from runner.follow import noted, pinned, trial, unenforced_limits
from runner.journal import journal, leftover_runs, rejected_reports, rename_migration
from runner.journal.journal import Journal
from runner.overrides import hold
from runner.pinning import suspect
from runner.plan import schedule
from runner.plan.plan import Due, Header
from runner.plan.schedule import AFTER, CLOSED, DUE, HELD, LATER, RUNNING, OperatorRequest, Outlook, Rules, State, World
from runner.subprocesses import unit_health
from schemas.clock.zones import zone
from schemas.problems import printable
from schemas.records import RunnerSettings
from schemas.standard_streams import WARNING
from schemas.states import ACTIVE, INTERRUPTED, LAUNCH_FAILED, LAUNCHING, NONE, REFUSED, STOPPED
from schemas.units import format_duration

_NEXT_TICK = "starts with the next tick"
_STARTED_BY = "nothing was started: the next tick (timer, cron line or `skipjack tick`) starts what is due"
_NOT_HELD_YET = (
    "the settings have `start: held`, but the plan was made before that, so runs still start. Run `skipjack follow`."
)
_WINDOW = "waiting for its sync window"
_RETRIES = {
    INTERRUPTED: "retry: its last run was interrupted",
    STOPPED: "retry: its last run was stopped",
    LAUNCH_FAILED: "retry: its last run could not start",
}
_URGENCY = {DUE: 0, RUNNING: 1, LATER: 2, CLOSED: 2, AFTER: 3, HELD: 4}


class Row(NamedTuple):
    """A line of the table: a mirror, its status, what its next run waits for, since or until when, and why."""

    mirror: str
    status: str
    waits_for: str
    at: float | None
    why: str


def upcoming(settings: RunnerSettings, *, as_json: bool) -> None:
    """Print when each mirror of this worker runs next, the most urgent first."""
    now = time.time()
    rows, rules, problems, header = _look(settings, now)
    layout = StateLayout(settings.state_dir)
    problems += [f"{each.place}: {each.what} {each.todo}" for each in rejected_reports.remembered(layout, now)]
    if settings.manager:
        problems += [f"{place}: {what} {todo}" for _mirror, place, what, todo in noted.of_manager(layout, now)]
    dead = unit_health.look(layout)
    if as_json:
        plain = {"time_zone": rules.time_zone, "now": now, "slots": rules.slots, "held": rules.held}
        plain |= {"revision": header.revision, "signer": header.signer, "signing_key": header.signing_key}
        plain["pin"] = header.pin._asdict() | {"newest": header.seen} if header.pin else None
        plain["units"] = [unit._asdict() for unit in dead]
        plain["problems"] = problems
        say(json.dumps(plain | {"mirrors": [_as_plain(row, rules) for row in rows]}, indent=2))
        return
    if rules.held:
        say(hold.HELD)
    _say_table(rows, zone(rules.time_zone), now)
    if header.revision and header.signing_key:
        say(f"revision {header.revision[:12]}, signed by {printable(header.signer)} with the key {header.signing_key}")
    if header.pin:
        say(pinned.described(header))
    for problem in problems:
        log(problem, about="next", level=WARNING)
    for unit in dead:
        log(f"{unit.unit}: {unit.what} {unit.todo}", about="next", level=WARNING)


def _as_plain(row: Row, rules: Rules) -> dict[str, Any]:
    """Return a row for JSON. On a held worker a mirror that is due waits for the release."""
    held = rules.held and row.waits_for == DUE
    return row._asdict() | ({"waits_for": HELD} if held else {})


def say_due(settings: RunnerSettings) -> None:
    """Print which mirrors are due and which comes next, after a follow that starts no run."""
    now = time.time()
    rows, rules, _problems, _header = _look(settings, now)
    due = [row for row in rows if row.waits_for == DUE]
    if due:
        names = [row.mirror for row in due]
        say(f"due now, with {rules.slots} slot{'s' * (rules.slots != 1)}: {unenforced_limits.listed(names)}")
        say(hold.HELD if rules.held else _STARTED_BY)
    else:
        say("nothing is due now")
    coming = [row for row in rows if row.waits_for in (LATER, CLOSED) and row.at is not None]
    for row in coming[:1]:
        say(f"next: {row.mirror}, {' '.join(_when(row, zone(rules.time_zone), now))}; {row.why}")


def _look(settings: RunnerSettings, now: float) -> tuple[list[Row], Rules, list[str], Header]:
    """Return the rows of all mirrors, the most urgent first, the problems of the whole worker, and the plan's header.

    It reads a copy of the journal, since taking over renamed mirrors would change it.
    """
    with trial.planned(settings) as opened, journal.copied(StateLayout(settings.state_dir).journal) as book:
        aliases = rename_migration.continue_history(book, opened.renamed(), now, copy=True)
        states = rename_migration.under_current_names(book.states(), aliases)
        held = hold.is_held(opened.header, book)
        mirrors, world = schedule.world(opened, states, book.operator_requests(), held=held)
        rows = [_with_refusal(row, book, opened.header.unmoved) for row in rows_of(mirrors, world, now)]
        # Such a run is shown although its mirror has no row in the plan, so that an operator can stop it.
        rows += _rows_left(leftover_runs.find(opened, [each.mirror for each in book.active()]), world, now)
        rows.sort(key=lambda row: _URGENCY[row.waits_for])
        # A mirror that keeps its last valid definition has a row.
        problems = [
            f"{place}: {what} {todo}"
            for mirror, place, what, todo in opened.header.problems
            if mirror is None or not opened.has(mirror)
        ]
        problems += [_NOT_HELD_YET] if settings.held and not opened.header.held and book.released() is None else []
        of_worker = noted.problems(StateLayout(settings.state_dir), opened.header, but=noted.MEMORY)
        problems += [f"{place}: {what} {todo}" for _mirror, place, what, todo in of_worker]
        problems += unenforced_limits.warnings(settings, (planned.mirror for planned in opened.limited()))
        suspected = suspect.look(book, opened.header, now)
        problems += [" ".join(suspect.described(suspected))] if suspected else []
    return rows, world.rules, problems, opened.header


def _rows_left(names: list[str], world: World, now: float) -> list[Row]:
    """Return the rows of runs whose mirrors this worker no longer has."""
    rows = [_row(Due(name, 0), world, now, waits=False) for name in names]
    more = "this worker no longer has this mirror; `skipjack stop` ends its run"
    return [row._replace(why=f"{row.why}; {more}") for row in rows]


def _with_refusal(row: Row, book: Journal, unmoved: Collection[str]) -> Row:
    """Return the row with the reason why the last run was refused, which holds until the operator acts on it.

    When the files of an `unmoved` mirror have been moved, the next follow starts it, even if its next run is far away.
    """
    run = book.last_run(row.mirror) if row.status == REFUSED else None
    if run is None or not run.reason:
        return row
    if row.mirror in unmoved and row.waits_for in (LATER, CLOSED):
        row = row._replace(at=None, why="waiting for its files to be moved; the next follow after that starts it")
    return row._replace(why=f"{row.why}; last run refused: {run.reason}")


def rows_of(mirrors: list[Due], world: World, now: float) -> list[Row]:
    """Return the rows of mirrors, the most urgent first."""
    queue = schedule.decide(mirrors, world, now)
    layout = {name: number for number, name in enumerate((*queue.launch, *queue.wait))}
    wait = frozenset(queue.wait)
    rows = [_row(mirror, world, now, waits=mirror.name in wait) for mirror in mirrors]
    return sorted(rows, key=lambda row: (_URGENCY[row.waits_for], layout.get(row.mirror, 0), row.at or now, row.mirror))


def _row(mirror: Due, world: World, now: float, *, waits: bool) -> Row:
    state = world.states.get(mirror.name) or State(NONE)
    request = world.operator_requests.get(mirror.name) or OperatorRequest()
    found = schedule.outlook(mirror, world, now)
    if found.kind == HELD:
        why = f"{request.override} by {request.made_by}" + (f": {request.reason}" if request.reason else "")
        return Row(mirror.name, state.status, HELD, request.made_at, why)
    if found.kind == DUE:
        return Row(mirror.name, state.status, DUE, found.at or None, _why_due(request, world, waits=waits))
    return Row(mirror.name, state.status, found.kind, found.at, _why_not(mirror, state, world, found, now))


def _why_due(request: OperatorRequest, world: World, *, waits: bool) -> str:
    why = "waiting for a slot" if waits else "waiting for `skipjack release`" if world.rules.held else _NEXT_TICK
    return f"{why}, requested by {request.made_by}" if request.requested else why


def _why_not(mirror: Due, state: State, world: World, found: Outlook, now: float) -> str:
    if found.kind == RUNNING and state.next_attempt_at is not None:
        is_later = state.next_attempt_at > now
        return "waiting for its next attempt" if is_later else "waiting for a slot for its next attempt"
    if found.kind == RUNNING:
        return "starting" if state.status == LAUNCHING else "syncing"
    if found.kind == CLOSED:
        return _WINDOW
    if found.kind == AFTER:
        return "after " + ", ".join(_with_state(name, world) for name in found.mirrors)
    if found.at is not None and found.at > schedule.due_at(mirror, state, world.rules, now):
        return _WINDOW
    if state.status in _RETRIES:
        return _RETRIES[state.status]
    if state.unreached and found.at is not None and found.at >= schedule.retry_at(mirror, state, world.rules):
        again = f", {state.unreached} times in a row" if state.unreached > 1 else ""
        return f"early retry: its upstream was unreachable or had too many clients{again}"
    if mirror.cron:
        return f"cron schedule {mirror.cron}"
    if state.failed_runs > 1:
        return f"backing off after {state.failed_runs} failed runs"
    return f"every {format_duration(mirror.interval)}" + (", last run failed" if state.failures else "")


def _with_state(name: str, world: World) -> str:
    """Return a mirror that another one waits for, with what delays it when that is not its schedule."""
    request, state = world.operator_requests.get(name), world.states.get(name)
    if request is not None and request.override:
        return f"{name} ({request.override})"
    if name not in world.names:
        return f"{name} (its definition is invalid)"
    return f"{name} (syncing)" if state is not None and state.status in ACTIVE else name


def _say_table(rows: list[Row], place: tzinfo, now: float) -> None:
    cells = [("MIRROR", "WHEN", "", "WHY"), *((row.mirror, *_when(row, place, now), row.why) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    for line in cells:
        columns = (cell.ljust(width) for cell, width in zip(line[:3], widths, strict=True))
        say("  ".join([*columns, line[3]]))


def _when(row: Row, place: tzinfo, now: float) -> tuple[str, str]:
    if row.waits_for == DUE:
        late = "" if row.at is None or now - row.at < 1 else f"due for {format_duration(now - row.at)}"
        return "now", late
    if row.at is None:
        return "", ""
    moment = datetime.fromtimestamp(row.at, place).strftime("%Y-%m-%d %H:%M")
    past = row.at <= now
    return moment, f"for {format_duration(now - row.at)}" if past else f"in {format_duration(row.at - now)}"
