"""The built-in hooks, one module each. A new one is a module and its line here.

pre_* functions run in this order, those of plug-ins after them, and post_* functions in reverse.
"""

from types import ModuleType

from runner import plugin_loader
from schemas.mirror_record import Mirror

HOOKS: dict[str, tuple[str, ...]] = {
    "exec_commands": ("exec_on_success", "exec_on_success_extra", "exec_on_failure", "exec_on_failure_extra"),
    "log_keeper": (),
    "previous_name": ("formerly",),
    "zfs": ("zpool",),
    "missing_files": (),
    "btrfs_snapshot": ("btrfs_snapshot",),
    "directory": (),
    "free_space": (),
    "container_left": (),
    "container": ("docker_image",),
    "trace": ("trace",),
    "memory": ("memory_limit",),
}
"""Each hook's module, and the keys of a mirror without which it has nothing to do (none if it always has)."""


def of(mirror: Mirror) -> tuple[ModuleType, ...]:
    """Return the hooks that have something to do in a mirror's runs; importing the others would slow each run."""
    return tuple([load(name) for name in HOOKS if is_used(mirror, name)])


def is_used(mirror: Mirror, name: str) -> bool:
    """Return whether a hook has something to do in a mirror's runs."""
    keys = HOOKS[name]
    return not keys or any(getattr(mirror, key) for key in keys)


def load(name: str) -> ModuleType:
    """Return the module of a hook."""
    return plugin_loader.load(f"{__name__}.{name}")
