"""The schema of one plug-in's keys: a JSON file in its package, or in `.skipjack/schemas` of the config repository."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas import json_text
from schemas.plugins import PROVIDER

MAX_BYTES = 64 * 1024
"""Bytes of one fragment at most."""

_MAX_VALUES = 4000


class BadFragment(ValueError):  # noqa: N818 - it is what the fragment is
    """A fragment cannot be used; the text says why."""


class Fragment(NamedTuple):
    """The checked schema of a plug-in's keys: kind, name, and JSON in canonical form, so that it can be hashed."""

    kind: str
    name: str
    text: str

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of the plug-in's key, without references."""
        found: Mapping[str, Any] = json.loads(self.text)
        return found

    @property
    def mirror_keys(self) -> tuple[str, ...]:
        """The common keys of a mirror that a provider reads."""
        return tuple(self.schema.get("x-mirror-keys", ()))


def read(kind: str, name: str, data: bytes) -> Fragment:
    """Return the fragment in a file's content. Raises BadFragment with the reason."""
    if len(data) > MAX_BYTES:
        raise BadFragment(f"it is larger than {MAX_BYTES // 1024} KiB")
    try:
        found = json_text.parse(data, _MAX_VALUES)
    except ValueError as error:
        raise BadFragment(f"it is not valid JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadFragment("it is not a JSON object")
    return Fragment(kind, name, json.dumps(found, sort_keys=True, separators=(",", ":")))


def without_keys(kind: str, name: str) -> Fragment:
    """Return the fragment of a plug-in that has no keys."""
    what = "provider" if kind == PROVIDER else "hook"
    plain = {
        "title": f"The {what} {name}",
        "description": f"The {what} plug-in `{name}`, which has no keys.",
        "type": "object",
        "additionalProperties": False,
        "properties": {},
    }
    return read(kind, name, json.dumps(plain).encode())
