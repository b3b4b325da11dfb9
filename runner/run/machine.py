"""What a run must know of its machine, out of the plan."""

from runner.base.state_dir import StateLayout
from runner.plan.plan import Header
from runner.plugin_api import Machine


def machine_of(layout: StateLayout, header: Header) -> Machine:
    """The machine as the plan's header has it."""
    return Machine(
        layout.state_dir, header.container_program, header.cgroup, header.volumes, header.pattern_files,
        header.home or layout.home, header.roots, header.env, header.judged, header.passwords,
    )  # fmt: skip
