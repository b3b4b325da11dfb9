"""`skipjack release`: end `start: held` for good. The journal keeps that, and the settings have no effect any more.

`skipjack hold` alone takes a release back: from then on the settings have effect again.
"""

import time

from runner.base import locks, wakeup
from runner.base.output import finish_unread, say
from runner.base.state_dir import StateLayout
from runner.journal.journal import Released
from runner.overrides import hold, override_store
from runner.plan import plan
from runner.subprocesses import launch
from runner.tick import tick
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
    with override_store.opened(layout.journal) as book:
        before = book.released()
        if before is None and not (header.held or settings.held):
            say("this worker is not held; nothing was changed")
            return
        before = before or book.release(made_by, now)
    if before is not None:
        say(f"{_ago(before, now)}; nothing was changed")
        return
    say("released: mirrors that are due start now, as far as slots and hours allow")
    say("`start: held` has no effect from now on; keep it for `skipjack hold`, or remove it")
    wakeup.wake_courier(header.run_dir)
    launch.want_tick(layout)


def hold_again(settings: RunnerSettings) -> None:
    """Take the release back, so that no run starts; SkipjackError unless the settings and the plan say held.

    Runs at work go on: they are named, with what ends them.
    """
    finish_unread()
    layout = StateLayout(settings.state_dir)
    with plan.opened(layout.plan) as opened:
        header = opened.header
    if not settings.held:
        todo = "Write `start: held` into them, run `skipjack follow`, and then this again."
        raise SkipjackError("cannot hold this worker: its settings do not have `start: held`.", todo)
    if not header.held:
        todo = "Run `skipjack follow`, which needs no network for that, and then this again."
        raise SkipjackError("cannot hold this worker: its plan does not have `start: held` yet.", todo)
    with locks.Held(layout.lock("program", "tick"), wait=tick.PATIENCE) as ours:  # one at work might still launch
        if not ours:
            who = described(layout.lock("program", "tick"))
            raise SkipjackError(f"Another tick is still at work: {who}.", "See what hangs, and run this again.")
        with override_store.opened(layout.journal) as book:
            changed = book.hold()
            names = " ".join(sorted({active.mirror for active in book.active()}))
    say(hold.HELD if changed else "this worker is held already; nothing was changed")
    if names:
        say(f"still at work: {names}; `skipjack stop {names}` ends that")
    wakeup.wake_courier(header.run_dir)


def _ago(before: Released, now: float) -> str:
    return f"this worker was released {format_duration(max(0.0, now - before.at))} ago by {before.made_by}"
