"""The options of tunasync's worker: in which table they stand, what they hold, and what there is to say about some."""

from collections.abc import Callable, Mapping
from typing import Any

Kinds = Mapping[str, str]

SECTIONS: Mapping[str, Kinds] = {
    "global": {
        "name": "text",
        "log_dir": "text",
        "mirror_dir": "text",
        "concurrent": "number",
        "interval": "number",
        "retry": "number",
        "timeout": "number",
        "rsync_options": "texts",
        "exec_on_success": "texts",
        "exec_on_failure": "texts",
        "dangerous_global_success_exit_codes": "numbers",
        "dangerous_global_rsync_success_exit_codes": "numbers",
    },
    "manager": {"api_base": "text", "api_base_list": "texts", "token": "text", "ca_cert": "text"},
    "server": {
        "hostname": "text",
        "listen_addr": "text",
        "listen_port": "number",
        "ssl_cert": "text",
        "ssl_key": "text",
    },
    "cgroup": {"enable": "flag", "base_path": "text", "group": "text", "subsystem": "text"},
    "docker": {"enable": "flag", "volumes": "texts", "options": "texts"},
    "zfs": {"enable": "flag", "zpool": "text"},
    "btrfs_snapshot": {"enable": "flag", "snapshot_path": "text"},
    "include": {"include_mirrors": "text"},
}

MIRROR: Kinds = {
    "name": "text",
    "provider": "text",
    "upstream": "text",
    "interval": "number",
    "retry": "number",
    "timeout": "number",
    "mirror_dir": "text",
    "mirror_subdir": "text",
    "log_dir": "text",
    "env": "pairs",
    "role": "text",
    "exec_on_success": "texts",
    "exec_on_failure": "texts",
    "exec_on_success_extra": "texts",
    "exec_on_failure_extra": "texts",
    "success_exit_codes": "numbers",
    "rsync_success_exit_codes": "numbers",
    "command": "text",
    "fail_on_match": "text",
    "size_pattern": "text",
    "use_ipv6": "flag",
    "use_ipv4": "flag",
    "exclude_file": "text",
    "username": "text",
    "password": "text",
    "rsync_no_timeout": "flag",
    "rsync_timeout": "number",
    "rsync_options": "texts",
    "rsync_override": "texts",
    "rsync_override_only": "flag",
    "stage1_profile": "text",
    "memory_limit": "size",
    "docker_image": "text",
    "docker_volumes": "texts",
    "docker_options": "texts",
    "snapshot_path": "text",
    "mirrors": "tables",
}

PROVIDERS = ("rsync", "two-stage-rsync", "command")

IGNORED_BY_TWO_STAGE = ("rsync_override", "rsync_override_only")
"""What tunasync does not look at when the provider is `two-stage-rsync`."""

_CONTAINERS = "Containers are not kept: the program runs on the machine itself."
_MEMORY = "Memory limits are not kept."
_ZFS = "Nothing looks after ZFS datasets."
_BTRFS = "Btrfs snapshots are not kept."
_DO_CONTAINERS = "Install there what it needs, or remove the mirror's file."
_DO_MEMORY = "Limit the worker's units with `MemoryMax=`."
_DO_ZFS = "Create and mount each mirror's dataset before its first run."
_DO_BTRFS = "Make them in `exec_on_success`."

NOT_KEPT: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "docker_image": (("docker",), _CONTAINERS, _DO_CONTAINERS),
    "docker_volumes": (("docker",), _CONTAINERS, _DO_CONTAINERS),
    "docker_options": (("docker",), _CONTAINERS, _DO_CONTAINERS),
    "memory_limit": (("cgroup", "docker"), _MEMORY, _DO_MEMORY),
    "snapshot_path": (("btrfs_snapshot",), _BTRFS, _DO_BTRFS),
}
"""A mirror's options that are not kept: which sections must `enable` them in tunasync, what to say, what to do."""

SECTIONS_NOT_KEPT: Mapping[str, tuple[str, str]] = {
    "cgroup": (_MEMORY, _DO_MEMORY),
    "docker": (_CONTAINERS, _DO_CONTAINERS),
    "zfs": (_ZFS, _DO_ZFS),
    "btrfs_snapshot": (_BTRFS, _DO_BTRFS),
}

_IS: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "number": lambda value: type(value) is int,
    "flag": lambda value: isinstance(value, bool),
    "size": lambda value: isinstance(value, str) or type(value) is int,
    "texts": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    "numbers": lambda value: isinstance(value, list) and all(type(each) is int for each in value),
    "pairs": lambda value: isinstance(value, dict) and all(isinstance(each, str) for each in value.values()),
    "table": lambda value: isinstance(value, dict),
    "tables": lambda value: isinstance(value, list) and all(isinstance(each, dict) for each in value),
}

_SHOULD_BE = {
    "text": "text in quotes",
    "number": "a whole number",
    "flag": "`true` or `false`",
    "size": 'text such as `"256M"`',
    "texts": "a list of texts",
    "numbers": "a list of whole numbers",
    "pairs": "a table of texts",
    "table": "a table",
    "tables": "tables in double brackets",
}


def wrong(option: str, kind: str, value: object) -> str:
    """What is wrong with a value that tunasync would refuse as well; empty when nothing is."""
    return "" if _IS[kind](value) else f"`{option}` must be {_SHOULD_BE[kind]}."
