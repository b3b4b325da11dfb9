"""Rules about a mirror that a JSON Schema cannot express: pure checks of merged keys."""

import re
import shlex
import zoneinfo
from collections.abc import Iterator

from schemas.config import address_rules, idle_keys, plugin_rules, rsync_rules, shell_syntax
from schemas.config.inheritance import Merged, PlainKeys
from schemas.config.judgeable_keys import entries, judged
from schemas.config.schema_set import OWN, SchemaSet, schema
from schemas.problems import Problem, shown
from schemas.units import parse_size

_PATTERNS = ("fail_on_match", "size_pattern", "progress_pattern")

_EXEC_KEYS = ("exec_on_success", "exec_on_success_extra", "exec_on_failure", "exec_on_failure_extra")

_MOST_SYNTAX = 10
"""Pieces of shell syntax that a message lists."""

_FOLDERS = ("mirror_dir", "mirror_subdir", "log_dir", "snapshot_path")

_LONGEST_NAME = 250
"""Bytes of the name of a folder. File systems allow 255, and a snapshot is made as `.NAME.new`."""

_LEAST_MEMORY = "16MiB"
"""A run needs more than this for its interpreter and program."""


def is_time_zone(name: str) -> bool:
    """Return whether `name` is in the IANA database; `UTC` always is, also on a machine without the database."""
    if name == "UTC":
        return True
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not found is a KeyError, a folder's name an OSError
        return False
    return True


def has_time_zones() -> bool:
    """Return whether this machine has the IANA database at all, from the system or from Python's package."""
    return is_time_zone("Etc/UTC")


def mirror_problems(merged: Merged, schemas: SchemaSet = OWN) -> list[Problem]:
    """Return the problems of one mirror's merged keys, without other mirrors. A rule ends at a key of unknown value."""
    rules: list[Iterator[Problem]] = [
        # Not `required` in the schema, because a mirror may inherit these keys.
        *(_missing(merged, key) for key in schema("mirror")["x-required"]),
        plugin_rules.unusable(merged, schemas),
        plugin_rules.missing(merged, schemas),
        plugin_rules.foreign(merged, schemas),
        idle_keys.problems(merged),
        address_rules.mirror_problems(merged),
        rsync_rules.mirror_problems(merged),
        _command_line(merged),
        *(_exec_lines(merged, key) for key in _EXEC_KEYS),
        _volumes(merged),
        _container_options(merged),
        *(_pattern(merged, key) for key in _PATTERNS),
        *(_long_names(merged, key) for key in _FOLDERS),
        _snapshot_path(merged),
        _two_file_systems(merged),
        _memory(merged),
    ]
    return [problem for rule in rules for problem in judged(rule)]


def _missing(merged: Merged, key: str) -> Iterator[Problem]:
    if key not in merged.keys:
        yield merged.problem(key, f"`{key}` is missing.", f"Add `{key}:` here or to an inherited `_defaults.yml`.")


def _command_line(merged: Merged) -> Iterator[Problem]:
    if "command" not in merged.keys:
        if merged.keys.get("provider") == "command":
            yield merged.problem("provider", "`command` is missing.", "Add `command: /path/to/script`.")
        return
    for what, todo in _wrong_words(merged.keys["command"]):
        yield merged.problem("command", f"`command` {what}.", todo.format("command: /path/to/script"))


def _exec_lines(merged: Merged, key: str) -> Iterator[Problem]:
    for _, line in entries(merged.keys, key):
        for what, todo in _wrong_words(line):
            yield merged.problem(key, f"`{shown(line)}` in `{key}` {what}.", todo.format("/path/to/script now"))


def _wrong_words(line: str) -> Iterator[tuple[str, str]]:
    """Yield why a line cannot be run without a shell, and what to do."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        yield f"cannot be split into words: {error}", "Fix the quotes."
        return
    if not words or words[0][:1] in ("", "-"):
        yield "does not name a program", "Write for example `{}`."
    elif found := shell_syntax.find(line):
        syntax = _listed([f"`{shown(each.found)}`" for each in found])
        yield f"contains {syntax}, but no shell runs the line", _literal(shell_syntax.remedy(found))


def _listed(words: list[str]) -> str:
    """Return a list for a sentence, cut if it is long."""
    if len(words) > _MOST_SYNTAX:
        words = [*words[:_MOST_SYNTAX], f"{len(words) - _MOST_SYNTAX} more"]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _literal(text: str) -> str:
    """Return text that str.format leaves unchanged."""
    return text.replace("{", "{{").replace("}", "}}")


def _volumes(merged: Merged) -> Iterator[Problem]:
    if "docker_image" not in merged.keys:
        own = merged.own
        for key in ("docker_volumes", "docker_options"):
            yield from judged(_without_container(merged, key, own))


def _without_container(merged: Merged, key: str, own: PlainKeys) -> Iterator[Problem]:
    if key in own:
        yield merged.problem(key, f"`{key}` has no effect without a container.", "Add `docker_image:`.")


def _container_options(merged: Merged) -> Iterator[Problem]:
    for _, word in entries(merged.keys, "docker_options"):
        if not re.fullmatch(r"--[a-z][a-z0-9-]*(=[^\x00-\x1f]*)?", word):
            what = f"`{shown(word)}` in `docker_options` is neither `--name` nor `--name=value`."
            todo = "Write each option as one word, for example `--network=none`; put volumes into `docker_volumes`."
            yield merged.problem("docker_options", what, todo)


def _pattern(merged: Merged, key: str) -> Iterator[Problem]:
    if key not in merged.keys:
        return
    try:
        compiled = re.compile(merged.keys[key])
    # OverflowError: a repetition is too large. RecursionError: groups are nested too deeply.
    except (re.error, OverflowError, RecursionError) as error:
        yield merged.problem(key, f"`{key}` is not a valid regular expression: {error}.", "Correct it.")
        return
    if key != "fail_on_match" and not compiled.groups:
        wanted = "size" if key == "size_pattern" else "number"
        yield merged.problem(key, f"`{key}` has no group.", f"Put parentheses around the {wanted}.")


def _long_names(merged: Merged, key: str) -> Iterator[Problem]:
    for name in merged.keys.get(key, "").split("/"):
        if len(name) > _LONGEST_NAME // 4 and len(name.encode()) > _LONGEST_NAME:
            what = f"`{shown(name)}` in `{key}` is longer than {_LONGEST_NAME} bytes, so no file system can have it."
            yield merged.problem(key, what, "Write a shorter name.")


def _snapshot_path(merged: Merged) -> Iterator[Problem]:
    keys = merged.keys
    if "snapshot_path" in keys and not keys.get("btrfs_snapshot"):
        todo = "Add `btrfs_snapshot: true`, or remove it."
        yield merged.problem("snapshot_path", "`snapshot_path` has no effect without `btrfs_snapshot`.", todo)


def _two_file_systems(merged: Merged) -> Iterator[Problem]:
    keys = merged.keys
    if "zpool" in keys and keys.get("btrfs_snapshot"):
        what = "`zpool` and `btrfs_snapshot` are both set, but a directory is on one file system only."
        yield merged.problem("zpool", what, "Remove one of them, or write `btrfs_snapshot: false`.")


def _memory(merged: Merged) -> Iterator[Problem]:
    limit = merged.keys.get("memory_limit")
    if limit is not None and parse_size(limit) < parse_size(_LEAST_MEMORY):
        what = f"`memory_limit` is {limit}, too little for any program."
        yield merged.problem("memory_limit", what, f"Write `{_LEAST_MEMORY}` or more.")
