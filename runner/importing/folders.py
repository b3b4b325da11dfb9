"""The folders of tunasync's mirrors, logs, snapshots and control groups."""

import os
import re

from runner.importing.definitions import Config
from schemas.config.system_folders import is_mirror_root, is_system_folder

_NAME = re.compile(r"\{\{-?\s*\.Name\s*-?\}\}")
# A folder for all logs, with or without the mirror's name below it: Skipjack's own default either way.
_OF_EACH = re.compile(r"(/[^{}]*?)/*(?:(?<=/)\{\{-?\s*\.Name\s*-?\}\}/*)?")
_MEMORY = "memory/memory.limit_in_bytes"  # exists only with control groups of version 1


def mirror_root(config: Config) -> str:
    """Return the folder above the mirrors; empty if none is set or it cannot be a worker's `mirror_root`."""
    path = str(config.get("global", "mirror_dir", ""))
    return os.path.normpath(path) if path.startswith("/") and is_mirror_root(path) else ""


def log_root(config: Config) -> str:
    """Return the folder above all logs; empty if none is set or it is a folder of the system."""
    root = _log_root(str(config.get("global", "log_dir", "")))
    return "" if is_system_folder(root) else root


def _log_root(template: str) -> str:
    if match := _OF_EACH.fullmatch(template):
        return os.path.normpath(match[1])
    begin = template.partition("{{")[0]
    return os.path.normpath(os.path.dirname(begin)) if begin.startswith("/") and _resolved(template, "x") else ""


def log_folder(template: str, name: str) -> str:
    """Return a mirror's log folder; empty if it is not absolute or uses more than `{{.Name}}`."""
    path = _resolved(template, name)
    return os.path.normpath(path) if path.startswith("/") else ""


def has_folder_each(template: str) -> bool:
    """Return whether a template gives the folders that Skipjack uses by default."""
    return _OF_EACH.fullmatch(template) is not None


def _resolved(template: str, name: str) -> str:
    path = _NAME.sub(name, template)
    return "" if "{{" in path else path


def control_group(group: str, mounted: str = "/sys/fs/cgroup") -> str:
    """Return the folder of a control group that has the memory controller; empty for the root group.

    In version 1 each controller has a tree of its own.
    """
    name = os.path.normpath(f"/{group}").lstrip("/")
    tree = os.path.join(mounted, "memory") if os.path.exists(os.path.join(mounted, _MEMORY)) else mounted
    return os.path.join(tree, name) if name else ""


def snapshot_root(config: Config) -> str:
    """Return the folder of published snapshots; empty if it cannot be a worker's, or nothing is published."""
    path = str(config.get("btrfs_snapshot", "snapshot_path", ""))
    fits = publishes_snapshots(config) and path.startswith("/") and is_mirror_root(path)
    return os.path.normpath(path) if fits else ""


def publishes_snapshots(config: Config) -> bool:
    """Return whether mirrors are Btrfs subvolumes. With `zfs` as well, no run of tunasync succeeds."""
    return bool(config.get("btrfs_snapshot", "enable", False) and not config.get("zfs", "enable", False))
