"""`skipjack release`: end `start: held` permanently. The journal records it, and the settings no longer matter.

Only `skipjack hold` takes a release back; then the settings count again.
"""

import time

from runner.base import locks
from runner.base.output import finish_unread, say
from runner.base.state_dir import StateLayout
from runner.journal import journal
from runner.journal.journal import Released
from runner.overrides import hold, override_store
from runner.plan import plan
from runner.subprocesses import launch
from runner.tick import tick
from schemas import wakeup
from schemas.errors import SkipjackError
from schemas.lock_holders import described
from schemas.records import RunnerSettings
from schemas.units import format_duration


def release(settings: RunnerSettings, made_by: str) -> None:
    """Let runs start from now on, and wake a tick; SkipjackError when there is no plan yet."""
    finish_unread()
    layout, now = StateLayout(settings.state_dir), time.time()
    with plan.opened(layout.plan) as opened:
        header = opened.header
    with journal.opened(layout.journal) as book:
        before = book.released()
        if before is None and not (header.held or settings.held):
            say("this worker is not held; nothing was changed")
            return
        before = before or override_store.release(book, made_by, now)
    if before is not None:
        say(f"{_ago(before, now)}; nothing was changed")
        return
    say("released: mirrors that are due start now, as slots and sync windows allow")
    say("`start: held` has no effect from now on; keep it for `skipjack hold`, or remove it")
    wakeup.send(header.run_dir, wakeup.COURIER)
    launch.want_tick(layout)


def hold_again(settings: RunnerSettings) -> None:
    """Take the release back, so that no run starts; SkipjackError unless both settings and plan have `start: held`.

    Running mirrors continue; they are named in the output.
    """
    finish_unread()
    layout = StateLayout(settings.state_dir)
    with plan.opened(layout.plan) as opened:
        header = opened.header
    if not settings.held:
        todo = "Add `start: held`, run `skipjack follow`, then run this again."
        raise SkipjackError("cannot hold this worker: its settings do not have `start: held`.", todo)
    if not header.held:
        todo = "Run `skipjack follow`, which needs no network for that, then run this again."
        raise SkipjackError("cannot hold this worker: its plan does not have `start: held` yet.", todo)
    # under the tick's lock, since a running tick might still launch a run
    with locks.Held(layout.lock("program", "tick"), wait=tick.LOCK_TIMEOUT) as acquired:
        if not acquired:
            who = described(layout.lock("program", "tick"))
            todo = "Check what it is waiting for, then run this again."
            raise SkipjackError(f"another tick is still running: {who}.", todo)
        with journal.opened(layout.journal) as book:
            changed = override_store.hold(book)
            names = " ".join(sorted({active.mirror for active in book.active()}))
    say(hold.HELD if changed else "this worker is held already; nothing was changed")
    if names:
        say(f"still running: {names}; `skipjack stop {names}` stops them")
    wakeup.send(header.run_dir, wakeup.COURIER)


def _ago(before: Released, now: float) -> str:
    return f"this worker was released {format_duration(max(0.0, now - before.at))} ago by {before.made_by}"
