"""`skipjack release`: end `start: held` for good. The journal keeps that, and the settings have no effect any more."""

import time

from runner import bell, launch, order_book, plan
from runner.journal import Released
from runner.output import say
from runner.places import Places
from schemas.records import RunnerSettings
from schemas.units import format_duration


def release(settings: RunnerSettings, made_by: str) -> None:
    """Let runs start from now on, and wake a tick; SkipjackError when there is no plan yet."""
    places, now = Places(settings.state_dir), time.time()
    with plan.opened(places.plan) as opened:
        header = opened.header
    with order_book.opened(places.journal) as book:
        before = book.released()
        if before is None and not (header.held or settings.held):
            say("this worker is not held; nothing was changed")
            return
        before = before or book.release(made_by, now)
    if before is not None:
        say(f"{_ago(before, now)}; nothing was changed")
        return
    say("released: mirrors that are due start now, as far as slots and hours allow")
    say("`start: held` has no effect on this worker any more; remove it from its settings")
    bell.ring(header.run_dir)
    launch.want_tick(places)


def _ago(before: Released, now: float) -> str:
    return f"this worker was released {format_duration(max(0.0, now - before.at))} ago by {before.made_by}"
