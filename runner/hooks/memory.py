"""Limit the memory of a run's processes to its `memory_limit`, and report if the kernel killed one for it.

Under systemd the run's unit has the limit, in a container the container. Elsewhere the run moves into a control group
of its own for each attempt. This hook is the last of the table, so `post_*` functions of other hooks are not limited.
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
"""What to do if control groups of version 1 give the units of a user no memory controller."""


class _Confined(NamedTuple):
    """An attempt with a limit: its group, the number of processes killed there before, and the groups to return to."""

    group: str
    killed: int
    homes: tuple[str, ...] = ()


def pre_exec(job: Job) -> None:
    """Set the limit for the processes that the attempt starts."""
    limit = job.mirror.memory_limit
    if limit is None or job.mirror.docker_image:
        return
    unit = f"skipjack-run@{job.mirror.name}.service"
    if control_group.is_unit(unit):
        _in_unit(job, unit, limit)
    elif job.machine.cgroup is None:
        todo = "let systemd start the runs, or name a control group by `cgroup` in the machine's settings"
        job.complain(f"`memory_limit` is not enforced: there is neither systemd nor a control group; {todo}")
    else:
        _confine(job, job.machine.cgroup, limit)


def _in_unit(job: Job, unit: str, limit: int) -> None:
    """Count kills in the unit's own group, if the limit is in force there. A group above also counts other units."""
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
    """Explain a failure by the limit if the kernel killed a process, and leave the group of the attempt."""
    confined: _Confined | None = job.kept.pop("memory", None)
    if confined is None:
        return
    if control_group.kills(confined.group) > confined.killed:
        size = format_size(job.mirror.memory_limit or 0)
        job.explanation = f"it exceeded its `memory_limit` of {size}, for which the kernel killed a process"
    if confined.homes:
        control_group.leave(confined.group, *confined.homes)


def post_fail(job: Job) -> None:
    """Leave the group after an attempt that was aborted, whose `post_exec` was not called."""
    post_exec(job)
