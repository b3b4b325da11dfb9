"""Which keys of two records differ, and how is each value written, as in YAML and without secrets?"""

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from runner.forecast.forecast import ValueChange
from schemas.addresses import without_secrets
from schemas.config.record_factory import DURATIONS, SIZES
from schemas.problems import printable
from schemas.records import Mirror, Site, Worker
from schemas.units import format_size, setting_duration

_LONGEST = 400
"""Characters of a value at most; commands and lists of options are longer only by mistake or by intent to hide."""

_SECRET = re.compile(r"(?i)pass|token|secret|credential|api_?key|access_?key")
_NOT_KEYS = frozenset({"name", "worker", "formerly"})

Leaves = dict[str, tuple[str, Any]]
"""Values by their paths, such as `env.LANG`, each with its key. A key that is not set is missing."""


def mirror_changes(before: Mirror, after: Mirror) -> tuple[ValueChange, ...]:
    """Return the keys in effect that differ between two definitions."""
    return _changes(_differing(before, after), before, after) if before != after else ()


def settings_of(mirror: Mirror) -> tuple[ValueChange, ...]:
    """Return the keys of a new mirror that differ from their defaults."""
    bare = Mirror(mirror.name, mirror.worker, "", "")
    return _changes(_differing(bare, mirror), None, mirror)


def record_changes(before: Site | Worker, after: Site | Worker) -> tuple[ValueChange, ...]:
    """Return the keys that differ between two records of the same type."""
    keys = [key for key in before._fields if getattr(before, key) != getattr(after, key)]
    return _changes(keys, before, after)


def pattern_changes(path: str, before: tuple[str, ...], after: tuple[str, ...]) -> tuple[ValueChange, ...]:
    """Return how the patterns of a file of the repository differ: those that are removed, and those that are added."""
    if before == after:
        return ()
    removed = shlex.join([line for line in before if line not in set(after)])
    added = shlex.join([line for line in after if line not in set(before)])
    if not removed and not added:
        added = "another order"
    return (ValueChange(f"patterns in {path}", _cut(printable(removed)) or None, _cut(printable(added)) or None),)


def _differing(before: Mirror, after: Mirror) -> list[str]:
    """Return the keys that differ. With `cron` the interval has no effect."""
    pairs = zip(Mirror._fields, before, after, strict=True)
    keys = [key for key, old, new in pairs if old is not new and old != new and key not in _NOT_KEYS]
    if (before.cron or after.cron) and ("cron" in keys or "interval" in keys):
        keys = [key for key in keys if key != "interval"]
        if bool(before.cron) != bool(after.cron):
            keys.insert(0, "interval")
    return keys


def _changes(keys: list[str], before: Any, after: Any) -> tuple[ValueChange, ...]:
    old, new = _leaves(keys, before), _leaves(keys, after)
    return tuple([_change(path, old, new) for path in dict.fromkeys([*old, *new]) if old.get(path) != new.get(path)])


def _change(path: str, old: Leaves, new: Leaves) -> ValueChange:
    was, becomes = (_shown(path, *leaves[path]) if path in leaves else None for leaves in (old, new))
    # A secret, or the end of a long text.
    return ValueChange(path, was, f"{becomes} (another value)" if was == becomes else becomes)


def _leaves(keys: list[str], record: Any) -> Leaves:
    has_cron = bool(getattr(record, "cron", ""))
    found: Leaves = {}
    for key in keys:
        if record is not None and not (key == "interval" and has_cron):
            found.update(_below(key, key, getattr(record, key)))
    return found


def _below(path: str, key: str, value: Any) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Yield a value, or the values of a mapping or record; nothing for one that is not set."""
    if value is None or value in ("", ()):
        return
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        for name, part in value.items():
            # A plug-in's keys are written below its name, as in YAML.
            yield from _below(name if key == "plugins" else f"{path}.{name}", name, part)
        return
    yield path, (key, value)


def _shown(path: str, key: str, value: Any) -> str:
    return "***" if _is_secret(path, key) else _cut(printable(without_secrets(_text(key, value))))


def _is_secret(path: str, key: str) -> bool:
    # `password.file` and `password.credential` name a place, not the password itself.
    return not path.startswith("password.") and _SECRET.search(key) is not None


def _text(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and key in DURATIONS:
        return setting_duration(value)
    if isinstance(value, int) and key in SIZES:
        return format_size(value)
    if isinstance(value, tuple):
        return shlex.join(map(str, value)) if all(isinstance(each, str) for each in value) else repr(list(value))
    return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
