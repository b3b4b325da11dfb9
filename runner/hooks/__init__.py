"""The built-in hooks, one module each. A new one is a module and its line here.

pre_* functions run in this order, those of plug-ins after them, and post_* functions in reverse.
"""

from types import ModuleType

from runner import plugin_loader
from schemas.mirror_record import Mirror

HOOKS: dict[str, str] = {
    "exec_commands": "",
    "log_keeper": "",
    "previous_name": "formerly",
    "zfs": "zpool",
    "missing_files": "",
    "btrfs_snapshot": "btrfs_snapshot",
    "directory": "",
    "free_space": "",
    "container_left": "",
    "container": "docker_image",
    "trace": "trace",
    "memory": "memory_limit",
}
"""Each hook's module, and the key of a mirror without which it has nothing to do (empty where there is none such)."""


def of(mirror: Mirror) -> tuple[ModuleType, ...]:
    """Return the hooks that have something to do in a mirror's runs; importing the others would slow each run."""
    return tuple([load(name) for name, key in HOOKS.items() if not key or getattr(mirror, key)])


def load(name: str) -> ModuleType:
    """Return the module of a hook."""
    return plugin_loader.load(f"{__name__}.{name}")
