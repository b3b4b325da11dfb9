"""Keeps a run's processes within its `memory_limit`, and tells when one was killed for it.

Under systemd the run's own unit has the limit, and a container has its own; elsewhere the run moves into a control
group of its own for each attempt. It stands last in the table: what other hooks do at the end is no longer in there.
"""

import os
from typing import NamedTuple

from runner.hooks import control_group
from runner.plugin_api import Job
from schemas.units import format_size

OPTIONS = frozenset({"memory_limit", "docker_image"})


NO_CONTROLLER = (
    "install the units as root, without `--user`, or boot the machine with `systemd.unified_cgroup_hierarchy=1`"
)
"""What to do where control groups of version 1 give a user's own units no memory controller."""


class _Confined(NamedTuple):
    """An attempt under a limit: its group, how many were killed there before, and where to go in the end."""

    group: str
    killed: int
    homes: tuple[str, ...] = ()


def pre_exec(job: Job) -> None:
    """Set the limit for what the attempt starts."""
    limit = job.mirror.memory_limit
    if limit is None or job.mirror.docker_image:
        return
    unit = f"skipjack-run@{job.mirror.name}.service"
    if control_group.is_unit(unit):
        _in_unit(job, unit, limit)
    elif job.machine.cgroup is None:
        todo = "let systemd start the runs, or name a control group by `cgroup` in the machine's settings"
        job.complain(f"`memory_limit` is not enforced, since nothing here can do it; {todo}")
    else:
        _confine(job, job.machine.cgroup, limit)


def _in_unit(job: Job, unit: str, limit: int) -> None:
    """Watch the unit's own group if the limit is in force there; in that of all units others are killed as well."""
    own = control_group.own()
    if os.path.basename(own) != unit:
        job.complain(f"`memory_limit` is not enforced: {unit} has no memory controller; {NO_CONTROLLER}")
    elif not control_group.is_limited(own, limit):
        todo = f"start the run with `skipjack start {job.mirror.name}` or by its schedule, which set it"
        job.complain(f"`memory_limit` is not enforced: {unit} has no such limit; {todo}")
    else:
        job.kept["memory"] = _Confined(own, control_group.kills(own))


def _confine(job: Job, parent: str, limit: int) -> None:
    home = control_group.own()
    try:
        group = control_group.make(parent, job.mirror.name, limit)
        killed = control_group.kills(group)
        control_group.enter(group)
    except OSError as error:
        control_group.remove(f"{parent}/{job.mirror.name}")
        todo = "`cgroup` in the machine's settings must name a group with a memory controller that this user may write"
        job.complain(f"`memory_limit` is not enforced: {error.filename}: {error.strerror}; {todo}")
    else:
        job.kept["memory"] = _Confined(group, killed, (home, parent))


def post_exec(job: Job) -> None:
    """Find out whether the limit was why the attempt failed, and leave its group."""
    confined: _Confined | None = job.kept.pop("memory", None)
    if confined is None:
        return
    if control_group.kills(confined.group) > confined.killed:
        size = format_size(job.mirror.memory_limit or 0)
        job.explanation = f"it exceeded its `memory_limit` of {size}, for which the kernel killed a process"
    if confined.homes:
        control_group.leave(confined.group, *confined.homes)


def post_fail(job: Job) -> None:
    """Leave the group when the attempt ended before its processes did, or had none."""
    post_exec(job)
