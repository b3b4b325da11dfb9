"""Keys without effect: their author expects something that does not happen.

Only keys in the mirror's own file are reported. An inherited key without effect is not a mistake.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from schemas.config.inheritance import Merged, PlainKeys
from schemas.config.judgeable_keys import is_set, judged
from schemas.config.upstreams import daemon_host
from schemas.mirror_record import RSYNC_PROVIDERS
from schemas.problems import Problem, shown
from schemas.rsync import rsync_options, rsync_output

RSYNC_LISTS = ("rsync_options", "rsync_options_extra", "rsync_override")
"""Keys with lists of rsync options."""


class _Idle(NamedTuple):
    """Keys that have no effect if `applies` is true for the mirror's keys, the message, and what to do."""

    keys: tuple[str, ...]
    applies: Callable[[PlainKeys], bool]
    why: str
    todo: str


_ENDS = ("success", "success_extra", "failure", "failure_extra")


def _is_over_ssh(keys: PlainKeys) -> bool:
    return _has_rsync(keys) and daemon_host(keys.get("upstream", "rsync://h/m/")) is None


def _has_daemon(keys: PlainKeys) -> bool:
    return _has_rsync(keys) and not _is_over_ssh(keys)


def _has_rsync(keys: PlainKeys) -> bool:
    """Return whether rsync reads the upstream; other programs may send a user name to any address."""
    return keys.get("provider", "rsync") in RSYNC_PROVIDERS


def _has_password(keys: PlainKeys) -> bool:
    """Return whether rsync gets a password from any source."""
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
        "`{}` has no effect with `rsync_override_only`.",
        "Remove it, or add its option to `rsync_override`.",
    ),
    _Idle(
        ("rsync_override_only",),
        lambda keys: not keys.get("rsync_override"),
        "`{}` has no effect without `rsync_override`.",
        "Add `rsync_override:`, or remove it.",
    ),
    _Idle(
        ("rsync_timeout",),
        lambda keys: bool(keys.get("rsync_no_timeout")),
        "`{}` has no effect with `rsync_no_timeout`.",
        "Remove one of them.",
    ),
    _Idle(
        ("use_ipv4",),
        lambda keys: bool(keys.get("use_ipv6")),
        "`{}` has no effect with `use_ipv6`.",
        "Remove one of them.",
    ),
    _Idle(
        ("max_delete_floor",),
        lambda keys: isinstance(keys.get("max_delete"), int),
        "`{}` has no effect if `max_delete` is a number.",
        "Remove it, or write `max_delete` as a percentage such as `10%`.",
    ),
    _Idle(
        ("exec_on_each_failure",),
        lambda keys: not (keys.get("exec_on_failure") or keys.get("exec_on_failure_extra")),
        "`{}` has no effect without `exec_on_failure`.",
        "Add `exec_on_failure:`, or remove it.",
    ),
    _Idle(
        ("exec_timeout",),
        lambda keys: not any(keys.get(f"exec_on_{end}") for end in _ENDS),
        "`{}` has no effect without `exec_on_success` or `exec_on_failure`.",
        "Add one of them, or remove it.",
    ),
    _Idle(
        ("retry_delay",),
        lambda keys: keys.get("retry") == 1,
        "`{}` has no effect with `retry: 1`.",
        "Remove one of them; `retry` includes the first attempt.",
    ),
    _Idle(
        ("size_units",),
        lambda keys: not keys.get("size_pattern"),
        "`{}` has no effect without `size_pattern`.",
        "Add `size_pattern:`, or remove it.",
    ),
    _Idle(
        ("username", "password"),
        _is_over_ssh,
        "`{}` has no effect with an upstream over ssh.",
        "Remove it; write `USER@` in the upstream, and give the worker's user an ssh key.",
    ),
    _Idle(
        ("username",),
        lambda keys: _has_daemon(keys) and "@" in keys.get("upstream", ""),
        "`{}` has no effect with a user name in `upstream`.",
        "Remove one of them.",
    ),
    _Idle(
        ("username",),
        lambda keys: _has_daemon(keys) and "@" not in keys.get("upstream", "") and not _has_password(keys),
        "`{}` has no effect without `password`.",
        "Add `password: {file: /etc/skipjack/secrets/NAME}`; a run has no terminal on which rsync could ask for it.",
    ),
)  # fmt: skip


def idle(own: dict[str, Any], keys: PlainKeys) -> Iterator[tuple[str, str, str]]:
    """Yield the keys of a mirror's `own` file that have no effect among all its keys, the message and what to do."""
    for rule in _RULES:
        for name in rule.keys:
            yield from judged(_idle(name, rule, own, keys))


def _idle(name: str, rule: _Idle, own: dict[str, Any], keys: PlainKeys) -> Iterator[tuple[str, str, str]]:
    if is_set(own, name) and rule.applies(keys):
        yield name, rule.why.format(name), rule.todo


def problems(merged: Merged) -> Iterator[Problem]:
    """Yield keys of the mirror's own file without effect, and options that change the format of rsync's output."""
    for key, why, todo in idle(merged.own, merged.keys):
        yield merged.problem(key, why, todo)
    for key in RSYNC_LISTS:
        yield from judged(_formats(merged, key))


def _formats(merged: Merged, key: str) -> Iterator[Problem]:
    for spelling in rsync_output.formats(merged.keys.get(key, ())):
        what = f"`{key}` has `{shown(spelling)}`, which changes the output of rsync that Skipjack reads."
        yield merged.problem(key, what, "Remove it; the log contains a line for each change.")
