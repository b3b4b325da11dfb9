"""Limits of definitions that are not enforced on this machine, for `skipjack next` and reports."""

from collections.abc import Iterable, Iterator

from runner.base.state_dir import StateLayout
from runner.hooks import container, control_group
from runner.hooks.memory import NO_CONTROLLER
from runner.subprocesses import launch
from schemas.mirror_record import Mirror
from schemas.records import RunnerSettings

SHOWN = 10
"""How many mirror names a line lists before it says how many more there are."""


def warnings(settings: RunnerSettings, mirrors: Iterable[Mirror]) -> Iterator[str]:
    """Yield a sentence for each group of limits that are not enforced."""
    for names, why in memory_limits(settings, mirrors):
        yield f"`memory_limit` of {listed(names)} is not enforced: {why}."


def listed(names: list[str]) -> str:
    """Return names for one line: all of a few; the first of many, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names) if more < 2 else f"{', '.join(names[:SHOWN])} and {more} more"


def memory_limits(settings: RunnerSettings, mirrors: Iterable[Mirror]) -> Iterator[tuple[list[str], str]]:
    """Yield the mirrors whose `memory_limit` is not enforced, by reason, and the reason with what to do."""
    limited = [mirror for mirror in mirrors if mirror.memory_limit is not None]
    inside = [mirror.name for mirror in limited if mirror.docker_image]
    outside = [mirror.name for mirror in limited if not mirror.docker_image]
    if inside and not container.limits_hold(settings.container_program):
        yield inside, container.NO_LIMITS
    if outside and (why := _why_not(settings)):
        yield outside, why


def _why_not(settings: RunnerSettings) -> str:
    """Return why `memory_limit` has no effect outside of containers; empty when it can have."""
    manager = launch.service_manager(StateLayout(settings.state_dir))
    if manager is None:
        return (
            ""
            if settings.cgroup
            else "runs are not systemd units here; name a control group by `cgroup` in the settings"
        )
    if "--user" in manager and not control_group.is_unified():
        return f"units of a user have no memory controller here; {NO_CONTROLLER}"
    return ""
