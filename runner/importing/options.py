"""The options of a tunasync worker: their tables, types and valid values."""

import re
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
"""Options that tunasync ignores for the provider `two-stage-rsync`."""

_MEMORY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgtp]?)i?b?", re.I)


def memory(text: str) -> int | None:
    """Return an amount of memory in bytes; all units are powers of 1024. None if it is not valid."""
    match = _MEMORY.fullmatch(text)
    if not match:
        return None
    number, unit = match.groups()
    return int(float(number) * 1024 ** " kmgtp".index(unit.lower() or " "))


_IS: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "number": lambda value: type(value) is int,
    "flag": lambda value: isinstance(value, bool),
    "size": lambda value: value == "" or (type(value) in (str, int) and memory(str(value)) is not None),
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
    """Return the error of a value with which tunasync does not start; empty for a valid one."""
    return "" if _IS[kind](value) else f"`{option}` must be {_SHOULD_BE[kind]}."
