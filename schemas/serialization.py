"""Encode a mirror's record as JSON for the worker's plan and the manager's store, and decode it. Cheap to import."""

import json
from types import MappingProxyType
from typing import Any

from schemas.mirror_record import FreshnessFile, Mirror, Secret, SyncWindows

_RECORDS: dict[str, Any] = {"password": Secret, "sync_windows": SyncWindows, "freshness": FreshnessFile}
"""Keys whose values are records."""


def encode_mirror(mirror: Mirror) -> str:
    """Return a mirror's definition as JSON."""
    plain: dict[str, Any] = mirror._asdict() | {"env": dict(mirror.env)}
    plain["plugins"] = _plain(mirror.plugins)
    for key in _RECORDS:
        plain[key] = plain[key]._asdict() if plain[key] else None
    return json.dumps(plain, separators=(",", ":"))


def decode_mirror(text: str) -> Mirror:
    """Decode a mirror; unknown keys of another version are ignored, and missing ones get their defaults."""
    plain = json.loads(text)
    fields = {key: _convert(plain[key]) for key in Mirror._fields if key in plain}
    for key, record in _RECORDS.items():
        if fields.get(key):
            fields[key] = record(**{part: _convert(value) for part, value in plain[key].items()})
    if fields.get("plugins"):
        fields["plugins"] = frozen(plain["plugins"])
    return Mirror(**fields)


def frozen(value: Any) -> Any:
    """Return a value of JSON with immutable mappings and lists at all depths."""
    if isinstance(value, dict):
        return MappingProxyType({key: frozen(below) for key, below in value.items()})
    return tuple([frozen(below) for below in value]) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Return what `frozen` was made of, with tuples instead of lists."""
    if isinstance(value, MappingProxyType):
        return {key: _plain(below) for key, below in value.items()}
    return [_plain(below) for below in value] if isinstance(value, tuple) else value


def _convert(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return MappingProxyType(value) if isinstance(value, dict) else value
