"""Convert checked plain values to records: units become numbers, lists tuples, nested mappings records."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from schemas import records
from schemas.config.fragments import Fragment
from schemas.plugins import PROVIDER
from schemas.serialization import frozen
from schemas.units import parse_duration, parse_size

DURATIONS = frozenset({
    "interval", "jitter", "timeout", "retry_delay", "retry_after_failure", "backoff_limit", "stale_after",
    "rsync_timeout", "silent_after", "exec_timeout", "log_max_age", "max_lag", "max_age", "read_timeout", "keep_runs",
    "keep_logs", "keep_audit", "commands_expire",
})  # fmt: skip
SIZES = frozenset({"body_limit", "header_size", "min_free_space", "log_max_size", "memory_limit", "max_delete_bytes"})
"""Keys whose values are durations and sizes with units."""


_PARTS: Mapping[str, Any] = {
    "repository": records.Repository,
    "tls": records.Tls,
    "limits": records.ClientLimits,
    "tunasync": records.TunasyncAccess,
    "database": records.DatabaseAddress,
    "history": records.History,
    "webhook": records.Webhook,
}
"""Keys of the manager's settings whose values are mappings, and their records."""


def _convert(key: str, value: Any) -> Any:
    if key in DURATIONS:
        return parse_duration(value)
    if key in SIZES:
        return parse_size(value)
    if key in ("password", "token", "secret"):
        return records.Secret(**value)
    if key == "verify_signatures":
        return records.SignatureRules(**value)
    if key == "freshness":
        return records.FreshnessFile(**_fields(value))
    if key == "sync_windows":
        return sync_windows(value)
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        return MappingProxyType(dict(value))
    return value


def _fields(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _convert(key, value) for key, value in plain.items()}


def sync_windows(plain: Mapping[str, Any]) -> records.SyncWindows:
    """Return the record of sync windows."""
    return records.SyncWindows(**_fields(plain))


def mirror(name: str, worker: str, plain: Mapping[str, Any], fragments: Sequence[Fragment] = ()) -> records.Mirror:
    """Return the record of one mirror on one worker from its merged, checked keys; `fragments` are of plug-ins.

    Keys of plug-ins that the mirror does not use are left out: it may inherit them.
    """
    common = {key: value for key, value in plain.items() if key in _COMMON}
    fields = _fields(common) | {"name": name, "worker": worker}
    if used := [each for each in fragments if _is_used(each, plain)]:
        fields["plugins"] = frozen({each.name: {**each.defaults, **(plain.get(each.name) or {})} for each in used})
    return records.Mirror(**fields)


_COMMON = frozenset(records.Mirror._fields)


def _is_used(fragment: Fragment, plain: Mapping[str, Any]) -> bool:
    """Return whether a mirror uses a plug-in: its provider, or a hook whose key is set to anything but `false`."""
    if fragment.kind == PROVIDER:
        return bool(plain["provider"] == fragment.name)
    return plain.get(fragment.name, False) is not False


def site(plain: Mapping[str, Any]) -> records.Site:
    """Return the site's record from its checked keys."""
    return records.Site(**_fields(plain))


def worker(name: str, plain: Mapping[str, Any]) -> records.Worker:
    """Return a worker's record, without its `defaults`, which concern the mirrors."""
    return records.Worker(name, **_fields({key: value for key, value in plain.items() if key != "defaults"}))


def repository(plain: Mapping[str, Any]) -> records.Repository:
    """Return the record of a repository's address."""
    return records.Repository(**_fields(plain))


def runner_settings(plain: Mapping[str, Any]) -> records.RunnerSettings:
    """Return the record of a worker's settings."""
    fields = dict(plain)
    fields["repository"] = repository(fields["repository"])
    if "manager" in fields:
        fields["manager"] = records.ManagerAddress(**_fields(fields["manager"]))
    return records.RunnerSettings(**fields)


def manager_settings(plain: Mapping[str, Any]) -> records.ManagerSettings:
    """Return the record of the manager's settings."""
    fields = {
        key: _PARTS[key](**_fields(value)) if key in _PARTS else _convert(key, value) for key, value in plain.items()
    }
    return records.ManagerSettings(**fields)


def policy(plain: Mapping[str, Any]) -> records.Policy:
    """Return the record of a machine's policy."""
    fields = _fields(plain)
    if "readable" in fields:
        fields["readable"] = tuple([_readable(each) for each in fields["readable"]])
    return records.Policy(**fields)


def _readable(entry: Any) -> Any:
    return records.Bound(**_fields(entry)) if isinstance(entry, Mapping) else entry
