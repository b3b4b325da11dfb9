"""Which mirrors are due? A pure function of definitions, states, operators' requests and the time.

All times are in seconds since 1970 UTC. `outlook` finds what one mirror waits for, and until when. `decide` does that
for all, and gives free slots to those that wait for nothing else. `skipjack next` shows the same results as text.
"""

import functools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from runner.plan.plan import Due, Header, Plan
from schemas.backoff import DOUBLINGS, doubled
from schemas.states import (
    ACTIVE,
    FAILED,
    INTERRUPTED,
    LAUNCH_FAILED,
    LAUNCHING,
    OFF,
    QUEUED,
    REFUSED,
    STOPPED,
    SUCCESS,
    TIMED_OUT,
)

if TYPE_CHECKING:  # few mirrors have any
    from schemas.mirror_record import SyncWindows

RECOVERY_DELAY = 60
"""Seconds until a mirror is tried again whose run was interrupted for an external reason.

A time further in the future than this was set by a wrong clock: small corrections of a clock stay below it.
"""

_DAY = 86400
_SAME = 1.0
"""Times that differ by fewer seconds are the same next run."""
_NEVER = float("inf")
_CUT_OFF = frozenset({INTERRUPTED, STOPPED, LAUNCH_FAILED})
_FORCED, _REQUESTED, _SCHEDULED = 0, 1, 2
_FAILURES = frozenset({FAILED, TIMED_OUT, REFUSED, LAUNCH_FAILED})

WITHOUT_NEXT_RUN = ACTIVE | OFF | {QUEUED}
"""Statuses of mirrors whose next run has no time: it is the active one, waits for a slot, or for an operator."""

DUE, LATER, CLOSED, AFTER, HELD, RUNNING = "due", "later", "closed", "after", "held", "running"
"""What a mirror's next run waits for: only a slot, its time, its sync window, other mirrors, the end of an override
(paused or disabled), or its active run."""


class State(NamedTuple):
    """A mirror's state in the journal; None for what has not happened.

    `unreached` counts the failures in a row that could not reach the upstream; it is 0 if the last failure was another
    one. `failures` counts the failures since the last success, with such a row counted as one. `forced` says that the
    last run started regardless of sync windows. `next_attempt_at` is when an active run that waits between two attempts
    wants a slot again; until then it holds none. `next_run_at` is when its reports say that it runs next.
    """

    status: str
    last_started_at: float | None = None
    last_ended_at: float | None = None
    last_success_at: float | None = None
    size: int | None = None
    failures: int = 0
    forced: bool = False
    unreached: int = 0
    next_attempt_at: float | None = None
    next_run_at: float | None = None

    @property
    def failed_runs(self) -> int:
        """Return how many runs failed since the last success."""
        return self.failures + max(0, self.unreached - 1)


class OperatorRequest(NamedTuple):
    """What an operator asked for one mirror: an override (`paused` or `disabled`, else empty), or a start.

    A requested start waits only for a slot and the sync window, a forced one for nothing.
    """

    override: str = ""
    requested: bool = False
    force: bool = False
    made_at: float = 0.0
    made_by: str = ""
    reason: str = ""


class Rules(NamedTuple):
    """The rules of the worker as a whole. `unusable` are mirrors whose definitions are invalid. While it is `held`,
    nothing is launched."""

    worker: str = ""
    slots: int = 1
    time_zone: str = "UTC"
    sync_windows: "SyncWindows | None" = None
    unusable: frozenset[str] = frozenset()
    held: bool = False


def rules_of(header: Header) -> Rules:
    """Return the rules from a plan."""
    unusable = frozenset(mirror for mirror, _place, _what, _todo in header.problems if mirror is not None)
    return Rules(header.worker, header.slots, header.time_zone, header.sync_windows, unusable)


class World(NamedTuple):
    """Everything that a decision depends on beside the mirror and the time; `names` are those of all mirrors."""

    rules: Rules
    states: Mapping[str, State]
    operator_requests: Mapping[str, OperatorRequest]
    names: frozenset[str]


def world(
    plan: Plan, states: Mapping[str, State], operator_requests: Mapping[str, OperatorRequest], *, held: bool
) -> tuple[list[Due], World]:
    """Return the mirrors and the world for a decision, from the plan and the journal."""
    mirrors = plan.due()
    rules = rules_of(plan.header)._replace(held=held)
    return mirrors, World(rules, states, operator_requests, frozenset(mirror.name for mirror in mirrors))


class Outlook(NamedTuple):
    """What a mirror's next run waits for, since or until when (None: unknown), and for which mirrors."""

    kind: str
    at: float | None
    mirrors: tuple[str, ...] = ()


class Decision(NamedTuple):
    """The mirrors to launch now, those that must wait for a slot, those to stop because their sync window has closed,
    and when something changes by itself (None: unknown).

    `next_runs` has the next run of each mirror whose reports have none or another one, although it is scheduled.
    """

    launch: list[str]
    wait: list[str]
    wake_at: float | None
    stop: list[str]
    next_runs: dict[str, float]


_NO_REQUEST = OperatorRequest()


def count_failures(before: State, status: str, *, unreached: bool = False) -> State:
    """Return the state with its counts of failures after a run with that status.

    An interrupted run is not a failure and does not end a row. `unreached` says that the upstream could not be reached
    or refused more connections.
    """
    if status == SUCCESS:
        return before._replace(failures=0, unreached=0)
    if status not in _FAILURES or status == LAUNCH_FAILED:
        return before._replace(failures=before.failures + (status in _FAILURES))
    again = unreached and before.unreached > 0
    return before._replace(failures=before.failures + (not again), unreached=before.unreached + 1 if unreached else 0)


def due_at(mirror: Due, state: State | None, rules: Rules, now: float) -> float:
    """Return when a mirror's next run is due; a time in the past if it is due already.

    `interval` counts from the end of the last run, `cron` from its start. A mirror that never ran is due at once, with
    `cron` at the first of its times. One that could not reach its upstream may be due earlier. An end in the future was
    recorded by a clock that has been set back since. Its real time is unknown, so the mirror is due.
    """
    ended = state.last_ended_at if state is not None else None
    if state is None or ended is None:
        return _fixed(mirror, rules, 0.0, now) if mirror.cron else 0.0
    if ended > now + RECOVERY_DELAY:
        return 0.0
    if state.status in _CUT_OFF:
        return ended + _recovery(mirror, state) + _put_off(mirror, rules)
    begun = ended if state.last_started_at is None else min(state.last_started_at, ended)
    planned = (
        _fixed(mirror, rules, begun, now) if mirror.cron else ended + _wait(mirror, state) + _put_off(mirror, rules)
    )
    return min(planned, retry_at(mirror, state, rules))


def retry_at(mirror: Due, state: State, rules: Rules) -> float:
    """Return when a mirror that could not reach its upstream is tried again; infinity if its schedule comes first.

    The pause doubles with each such failure in a row. A pause of the interval or more is not used: then the interval
    with its back-off applies. With `cron` there is no such limit.
    """
    if state.last_ended_at is None or not (pause := _pause(mirror, state.unreached)):
        return _NEVER
    if not mirror.cron and pause >= mirror.interval:
        return _NEVER
    return state.last_ended_at + pause + _put_off(mirror, rules, pause / 10)


def _pause(mirror: Due, unreached: int) -> int:
    """Return the seconds to wait after so many failures in a row to reach the upstream; 0 without any."""
    return doubled(mirror.retry_after_failure, unreached) if unreached else 0


def _fixed(mirror: Due, rules: Rules, begun: float, now: float) -> float:
    """Return the first cron time after the last start, but none from before the mirror got its `cron`."""
    from schemas.clock.cron import next_time

    since = 0.0 if mirror.since > now + RECOVERY_DELAY else mirror.since  # recorded by a clock that was set back
    found = next_time(mirror.cron, rules.time_zone, max(begun, since))
    return _NEVER if found is None else found + _put_off(mirror, rules)


def next_run_at(mirror: Due, state: State, rules: Rules, now: float) -> float | None:
    """Return when a mirror's next run may start at the earliest, by its own schedule and the sync windows."""
    return _begin(mirror, rules, max(now, due_at(mirror, state, rules, now)))


def _recovery(mirror: Due, state: State) -> float:
    """Return the delay after an interrupted run; it doubles for runs that could not even be launched."""
    first = RECOVERY_DELAY if mirror.cron else min(RECOVERY_DELAY, mirror.interval)
    if state.status != LAUNCH_FAILED:
        return first
    return min(doubled(first, state.failures), _DAY)


def _wait(mirror: Due, state: State) -> float:
    """Return the interval, doubled by each failure after the first, up to the limit.

    Failures after which the mirror was tried again before its interval was over do not count.
    """
    early = sum(0 < _pause(mirror, count) < mirror.interval for count in range(min(state.unreached, DOUBLINGS) + 1))
    failures = state.failed_runs - early
    limit = min(8 * mirror.interval, _DAY) if mirror.backoff_limit is None else mirror.backoff_limit
    return max(mirror.interval, min(limit, doubled(mirror.interval, failures)))


def _put_off(mirror: Due, rules: Rules, limit: float | None = None) -> float:
    """Return the mirror's share of the jitter, always the same, so that not all mirrors are due at once.

    The jitter is at most `limit` seconds, by default a tenth of the interval.
    """
    if not mirror.jitter:
        return 0.0
    if limit is None:
        limit = _NEVER if mirror.cron else mirror.interval / 10
    return min(mirror.jitter, limit) * _share(rules.worker, mirror.name)


@functools.cache
def _share(worker: str, name: str) -> float:
    from zlib import crc32

    # Not `hash`, which differs in each process. With the worker's name, so that not all workers ask an upstream at
    # once.
    return crc32(f"{worker}/{name}".encode()) / 2**32


def outlook(mirror: Due, world: World, now: float) -> Outlook:
    """Return what a mirror's next run waits for."""
    state = world.states.get(mirror.name)
    if state is not None and state.status in ACTIVE:
        since = None if state.status == LAUNCHING else state.last_started_at
        return Outlook(RUNNING, since if state.next_attempt_at is None else state.next_attempt_at)
    request = world.operator_requests.get(mirror.name, _NO_REQUEST)
    if request.override:
        return Outlook(HELD, None)
    if request.force:
        return Outlook(DUE, request.made_at)
    at = due_at(mirror, state, world.rules, now)
    if request.requested:
        at = min(at, request.made_at, now)
    # A queued mirror is due whatever its time is: `follow` queues one whose files were moved, and its interval may have
    # changed while it waited.
    elif at > now and (state is None or state.status != QUEUED):
        return Outlook(LATER, _begin(mirror, world.rules, at))
    opens_at = _begin(mirror, world.rules, now)
    if opens_at is None or opens_at > now:
        return Outlook(CLOSED, opens_at)
    others = _awaited(mirror, state, world, now, idle_only=request.requested)
    return Outlook(AFTER, None, others) if others else Outlook(DUE, at)


def _unreported(waits: Outlook, state: State | None, now: float) -> float | None:
    """Return when a mirror runs next, if its reports have no next run or another one; None if that is not known.

    Such a mirror never ran, came back to this worker, is not paused or disabled any more, or has another schedule.
    """
    if state is not None and state.status in WITHOUT_NEXT_RUN:
        return None
    known = state.next_run_at if state is not None else None
    if waits.kind in (DUE, AFTER):
        return now if known is None or known > now else None
    if waits.at is None or (known is not None and abs(known - waits.at) < _SAME):  # it is held, or never opens
        return None
    return waits.at


def _begin(mirror: Due, rules: Rules, at: float) -> float | None:
    """Return the first time from `at` on at which the sync windows let a run start; None if there is none."""
    hours = _hours(mirror, rules)
    if not hours or at == _NEVER:
        return None if at == _NEVER else at
    from schemas.clock.windows import opening

    span = opening(hours, rules.time_zone, at)
    return None if span is None else max(at, span.opens_at)


def _hours(mirror: Due, rules: Rules) -> "tuple[SyncWindows, ...]":
    if rules.sync_windows is None:
        return () if mirror.sync_windows is None else (mirror.sync_windows,)
    return (rules.sync_windows,) if mirror.sync_windows is None else (rules.sync_windows, mirror.sync_windows)


def _awaited(mirror: Due, state: State | None, world: World, now: float, *, idle_only: bool) -> tuple[str, ...]:
    """Return the mirrors of `after` that have an active run, or had no success since this mirror's last start.

    Mirrors that this worker does not have are ignored, since a removed one never succeeds, unless their definition is
    invalid and may be corrected.
    """
    since = state.last_started_at if state is not None else None
    if since is not None and since > now + RECOVERY_DELAY:  # recorded by a clock that was set back
        since = None
    present = [name for name in mirror.after if name in world.names or name in world.rules.unusable]
    return tuple(name for name in present if _is_missing(world.states.get(name), since, idle_only=idle_only))


def _is_missing(other: State | None, since: float | None, *, idle_only: bool) -> bool:
    if other is not None and other.status in ACTIVE:
        return True
    if idle_only:
        return False
    success = other.last_success_at if other is not None else None
    return success is None or (since is not None and success <= since)


def decide(mirrors: Iterable[Due], world: World, now: float, *, only_requested: bool = False) -> Decision:
    """Choose due mirrors for the free slots: requested ones first, then the most overdue.

    Forced runs start even without a free slot. `only_requested` ignores mirrors that are due by their schedule. On a
    held worker no mirror is chosen and none waits for a slot: their states stay as they were.
    """
    due: list[tuple[int, float, str, tuple[str, ...]]] = []
    stop: list[str] = []
    next_runs: dict[str, float] = {}
    wake_at = _NEVER
    for mirror in mirrors:
        waits = outlook(mirror, world, now)
        kind, at, _others = waits
        next_run = _unreported(waits, world.states.get(mirror.name), now)
        if next_run is not None and not world.rules.held:  # on a held worker nothing is planned
            next_runs[mirror.name] = next_run
        if kind == DUE:
            rank = _rank(world.operator_requests.get(mirror.name, _NO_REQUEST))
            if rank < _SCHEDULED or not only_requested:
                due.append((rank, at or 0.0, mirror.name, mirror.after))
        elif kind == RUNNING:
            at = _closes_at(mirror, world, now)
            if at <= now:
                stop.append(mirror.name)
        if kind != DUE and at is not None and at < wake_at:
            wake_at = at
    # All states and not only those of `mirrors`: runs of mirrors that this worker no longer has hold slots as well.
    busy = sum(_takes_slot(state, now) for state in world.states.values())
    launch, wait = _share_out([] if world.rules.held else sorted(due), world.rules.slots - busy)
    return Decision(launch, wait, None if wake_at == _NEVER else wake_at, stop, next_runs)


def _takes_slot(state: State, now: float) -> bool:
    """Return whether a mirror has a slot, or its active run is due for the next attempt and gets the next free one.

    Runs that have begun go before those that have not.
    """
    return state.status in ACTIVE and (state.next_attempt_at is None or state.next_attempt_at <= now)


def _rank(request: OperatorRequest) -> int:
    return _FORCED if request.force else _REQUESTED if request.requested else _SCHEDULED


def _share_out(due: list[tuple[int, float, str, tuple[str, ...]]], free: int) -> tuple[list[str], list[str]]:
    """Return the mirrors that get a slot, and those that must wait; a mirror `after` one that starts is in neither."""
    launch: list[str] = []
    wait: list[str] = []
    for rank, _at, name, after in due:
        if rank == _FORCED or (free > len(launch) and not set(after) & set(launch)):
            launch.append(name)
        elif not set(after) & set(launch):
            wait.append(name)
    return launch, wait


def _closes_at(mirror: Due, world: World, now: float) -> float:
    """Return when a sync window that also stops active runs closes for a mirror; `now` if it is closed."""
    hours = [each for each in _hours(mirror, world.rules) if each.stop_running]
    if not hours or world.states[mirror.name].forced:
        return _NEVER
    from schemas.clock.windows import opening

    span = opening(tuple(hours), world.rules.time_zone, now)
    return now if span is None or span.opens_at > now else span.closes_at
