"""Keys that mean nothing where they stand: whoever wrote one expects an effect that it does not have.

Only what a mirror's own file sets is looked at. An inherited key that a mirror makes idle is no mistake.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from schemas.config.inheritance import Merged
from schemas.config.judgeable_keys import judged
from schemas.config.upstreams import daemon_host
from schemas.problems import Problem, shown
from schemas.rsync import rsync_options, rsync_output

RSYNC_LISTS = ("rsync_options", "rsync_options_extra", "rsync_override")
"""Keys that hold options of rsync."""

Keys = Mapping[str, Any]


class _Idle(NamedTuple):
    """Keys that do nothing when a test of all keys of the mirror is true, why, and what to do."""

    keys: tuple[str, ...]
    applies: Callable[[Keys], bool]
    why: str
    todo: str


_ENDS = ("success", "success_extra", "failure", "failure_extra")


def _has_daemon(keys: Keys) -> bool:
    return daemon_host(keys.get("upstream", "rsync://h/m/")) is not None


def _has_password(keys: Keys) -> bool:
    """Whether rsync gets a password in any way."""
    lists = (rsync_options.read(keys.get(key, ())) for key in RSYNC_LISTS)
    return (
        "password" in keys
        or "RSYNC_PASSWORD" in keys.get("env", {})
        or any(reading.named("--password-file") for reading in lists)
    )


_RULES = (
    _Idle(
        ("rsync_options", "rsync_options_extra", "rsync_timeout", "rsync_no_timeout", "use_ipv4", "use_ipv6",
         "exclude_file"),
        lambda keys: bool(keys.get("rsync_override_only")),
        "`{}` does nothing with `rsync_override_only`.",
        "Remove it, or write its option into `rsync_override`.",
    ),
    _Idle(
        ("rsync_override_only",),
        lambda keys: not keys.get("rsync_override"),
        "`{}` does nothing without `rsync_override`.",
        "Add `rsync_override:`, or remove it.",
    ),
    _Idle(
        ("rsync_timeout",),
        lambda keys: bool(keys.get("rsync_no_timeout")),
        "`{}` does nothing with `rsync_no_timeout`.",
        "Remove one of them.",
    ),
    _Idle(
        ("use_ipv4",),
        lambda keys: bool(keys.get("use_ipv6")),
        "`{}` does nothing with `use_ipv6`.",
        "Remove one of them.",
    ),
    _Idle(
        ("max_delete_floor",),
        lambda keys: isinstance(keys.get("max_delete"), int),
        "`{}` does nothing when `max_delete` is a number.",
        "Remove it, or write `max_delete` as a share such as `10%`.",
    ),
    _Idle(
        ("exec_on_each_failure",),
        lambda keys: not (keys.get("exec_on_failure") or keys.get("exec_on_failure_extra")),
        "`{}` does nothing without `exec_on_failure`.",
        "Add `exec_on_failure:`, or remove it.",
    ),
    _Idle(
        ("exec_timeout",),
        lambda keys: not any(keys.get(f"exec_on_{end}") for end in _ENDS),
        "`{}` does nothing without `exec_on_success` or `exec_on_failure`.",
        "Add one of them, or remove it.",
    ),
    _Idle(
        ("retry_delay",),
        lambda keys: keys.get("retry") == 1,
        "`{}` does nothing with `retry: 1`.",
        "Remove one of them; `retry` counts the first attempt as well.",
    ),
    _Idle(
        ("size_units",),
        lambda keys: not keys.get("size_pattern"),
        "`{}` does nothing without `size_pattern`.",
        "Add `size_pattern:`, or remove it.",
    ),
    _Idle(
        ("username", "password"),
        lambda keys: not _has_daemon(keys),
        "`{}` does nothing with an upstream over ssh.",
        "Remove it; write `USER@` in the upstream, and give the worker's user a key for ssh.",
    ),
    _Idle(
        ("username",),
        lambda keys: _has_daemon(keys) and "@" in keys.get("upstream", ""),
        "`{}` does nothing with a user name in `upstream`.",
        "Remove one of them.",
    ),
    _Idle(
        ("username",),
        lambda keys: _has_daemon(keys) and "@" not in keys.get("upstream", "") and not _has_password(keys),
        "`{}` does nothing without `password`.",
        "Add `password: {file: /etc/skipjack/secrets/NAME}`; rsync asks for one on a terminal, and a run has none.",
    ),
)  # fmt: skip


def idle(own: Keys, keys: Keys) -> Iterator[tuple[str, str, str]]:
    """Return which keys of a mirror's `own` file do nothing among all its keys, with why and what to do."""
    for rule in _RULES:
        for name in rule.keys:
            yield from judged(_idle(name, rule, own, keys))


def _idle(name: str, rule: _Idle, own: Keys, keys: Keys) -> Iterator[tuple[str, str, str]]:
    if own.get(name) and rule.applies(keys):
        yield name, rule.why.format(name), rule.todo


def problems(merged: Merged) -> Iterator[Problem]:
    """Keys of the mirror's own file that do nothing, and lists of options that set what rsync's lines look like."""
    for key, why, todo in idle(merged.own, merged.keys):
        yield merged.problem(key, why, todo)
    for key in RSYNC_LISTS:
        yield from judged(_formats(merged, key))


def _formats(merged: Merged, key: str) -> Iterator[Problem]:
    for spelling in rsync_output.formats(merged.keys.get(key, ())):
        what = f"`{key}` sets what rsync prints with `{shown(spelling)}`, and Skipjack reads what rsync prints."
        yield merged.problem(key, what, "Remove it; the log has a line for each change.")
