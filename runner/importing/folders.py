"""Where tunasync keeps logs, snapshots and control groups."""

import os
import re

from runner.importing.definitions import Config
from schemas.config.system_folders import is_mirror_root, is_system_folder

_NAME = re.compile(r"\{\{-?\s*\.Name\s*-?\}\}")
_OF_EACH = re.compile(r"(/[^{}]*?)/*(?:(?<=/)\{\{-?\s*\.Name\s*-?\}\}/*)?")
_MEMORY = "memory/memory.limit_in_bytes"


def mirror_root(config: Config) -> str:
    """The folder that the mirrors lie below; empty when there is none that may be a worker's."""
    path = str(config.get("global", "mirror_dir", ""))
    return os.path.normpath(path) if path.startswith("/") and is_mirror_root(path) else ""


def log_root(config: Config) -> str:
    """The folder that the logs of all mirrors lie below; empty when there is none that may be a worker's own."""
    root = _log_root(str(config.get("global", "log_dir", "")))
    return "" if is_system_folder(root) else root


def _log_root(template: str) -> str:
    if match := _OF_EACH.fullmatch(template):
        return os.path.normpath(match[1])
    begin = template.partition("{{")[0]
    return os.path.normpath(os.path.dirname(begin)) if begin.startswith("/") and _resolved(template, "x") else ""


def log_folder(template: str, name: str) -> str:
    """A mirror's folder for logs; empty when it is no absolute path or more than the mirror's name is asked for."""
    path = _resolved(template, name)
    return os.path.normpath(path) if path.startswith("/") else ""


def has_folder_each(template: str) -> bool:
    """Whether the folders that a template gives are those that Skipjack takes by itself."""
    return _OF_EACH.fullmatch(template) is not None


def _resolved(template: str, name: str) -> str:
    path = _NAME.sub(name, template)
    return "" if "{{" in path else path


def control_group(group: str, mounted: str = "/sys/fs/cgroup") -> str:
    """The folder of a control group that has the memory controller on this machine; empty for the group of all.

    Under version 1 each controller has a tree of its own.
    """
    name = os.path.normpath(f"/{group}").lstrip("/")
    tree = os.path.join(mounted, "memory") if os.path.exists(os.path.join(mounted, _MEMORY)) else mounted
    return os.path.join(tree, name) if name else ""


def snapshot_root(config: Config) -> str:
    """The folder of the published snapshots; empty where no worker may have it, or nothing is published."""
    path = str(config.get("btrfs_snapshot", "snapshot_path", ""))
    fits = publishes_snapshots(config) and path.startswith("/") and is_mirror_root(path)
    return os.path.normpath(path) if fits else ""


def publishes_snapshots(config: Config) -> bool:
    """Whether mirrors are Btrfs subvolumes; those that must be ZFS datasets as well can be neither."""
    return bool(config.get("btrfs_snapshot", "enable", False) and not config.get("zfs", "enable", False))
