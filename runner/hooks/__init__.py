"""The hooks, one module each. A new one is a module and its line here.

pre_* functions run in this order, post_* functions in reverse.
"""

from types import ModuleType

from runner.hooks import btrfs_snapshot, container, directory, exec_commands, free_space, log_keeper, memory, trace, zfs

HOOKS: dict[str, ModuleType] = {
    "exec_commands": exec_commands,
    "log_keeper": log_keeper,
    "zfs": zfs,
    "btrfs_snapshot": btrfs_snapshot,
    "directory": directory,
    "free_space": free_space,
    "container": container,
    "trace": trace,
    "memory": memory,
}

STAGES = ("pre_job", "pre_exec", "post_exec", "post_success", "post_fail")
