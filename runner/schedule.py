"""What is due: a pure function of definitions, states and the time. All times are seconds since 1970 UTC."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from runner.plan import Due
from schemas.states import ACTIVE, INTERRUPTED, LAUNCH_FAILED, QUEUED

RECOVERY_DELAY = 60
"""Seconds until a mirror is tried again whose run was cut off by something that was not its own fault."""


class State(NamedTuple):
    """What the journal knows of one mirror; None for what has not happened."""

    status: str
    last_started_at: float | None = None
    last_ended_at: float | None = None
    last_success_at: float | None = None
    size: int | None = None


class Decision(NamedTuple):
    """What to launch now, what must wait for a slot, and when the next mirror becomes due (None: not foreseeable)."""

    launch: list[str]
    wait: list[str]
    wake_at: float | None


def due_at(interval: int, state: State | None, now: float) -> float:
    """When a mirror's next run is due; a moment in the past when it is due already.

    `interval` counts from the end of the last run. An end that lies in the future was stamped by a clock that has
    been set back since; nobody knows how long ago it really was, so the mirror is due.
    """
    if state is None or state.last_ended_at is None or state.last_ended_at > now + RECOVERY_DELAY:
        return 0.0
    if state.status in (INTERRUPTED, LAUNCH_FAILED):
        return state.last_ended_at + min(RECOVERY_DELAY, interval)
    return state.last_ended_at + interval


def decide(mirrors: Iterable[Due], states: Mapping[str, State], slots: int, now: float) -> Decision:
    """Choose at most as many due mirrors as slots are free, the most overdue first."""
    due: list[tuple[float, str]] = []
    wake_at: float | None = None
    busy = sum(state.status in ACTIVE for state in states.values())
    for mirror in mirrors:
        state = states.get(mirror.name)
        if state is not None and state.status in ACTIVE:
            continue
        at = due_at(mirror.interval, state, now)
        if at <= now or (state is not None and state.status == QUEUED):
            due.append((at, mirror.name))
        elif wake_at is None or at < wake_at:
            wake_at = at
    due.sort()
    free = max(0, slots - busy)
    names = [name for _at, name in due]
    return Decision(names[:free], names[free:], wake_at)
