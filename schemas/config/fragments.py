"""The schema of one plug-in's keys, a *fragment*: a JSON file in its package, or in a repository's `.skipjack/schemas`.

`schemas/config/fragment_checks.py` makes these records, once it has checked the file. Cheap to import: most sites have
no plug-ins.
"""

import functools
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

KEYS = "x-mirror-keys"
"""Keyword with the common keys of a mirror that a plug-in reads."""


class Fragment(NamedTuple):
    """The checked schema of a plug-in's keys: kind, name, and JSON without references, which can be hashed."""

    kind: str
    name: str
    text: str

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of the plug-in's key. Not to be changed: it is cached."""
        return _parsed(self.text)

    @property
    def mirror_keys(self) -> tuple[str, ...]:
        """The common keys of a mirror that the plug-in reads."""
        return tuple(self.schema.get(KEYS, ()))

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The defaults of its keys."""
        properties = self.schema["properties"]
        return {key: part["default"] for key, part in properties.items() if "default" in part}


@functools.lru_cache(maxsize=64)
def _parsed(text: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(text)
    return found
