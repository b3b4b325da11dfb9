"""What a mirror inherits: the layers of keys above it, weakest first, and where each key came from.

built-in (the record's defaults) < top `_defaults.yml` < the worker's `defaults` < the folders' `_defaults.yml`,
outermost first < the mirror's own file. Where one of these has a mapping as `worker`, what that says of a worker stands
right above it. Scalars and lists replace, mappings merge key by key, and an explicit
`false` beats an inherited `true` because it is simply a later value.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas.problems import Problem
from schemas.yaml_file import Document


class Layer(NamedTuple):
    """One source of keys: a document, and the path in it below which the keys stand."""

    document: Document
    base: tuple[str, ...] = ()

    @property
    def keys(self) -> dict[str, Any]:
        """The layer's keys; empty where the document has nothing at its base."""
        value = self.document.value
        for step in self.base:
            value = value.get(step) if isinstance(value, dict) else None
        return value if isinstance(value, dict) else {}


class Merged(NamedTuple):
    """The keys that apply to one mirror on one worker, and the layers that they came from."""

    keys: dict[str, Any]
    layers: tuple[Layer, ...]

    @property
    def own(self) -> dict[str, Any]:
        """The keys that the mirror's own file sets, for all of its workers or for this one."""
        file = self.layers[-1].document
        return {key: value for layer in self.layers if layer.document is file for key, value in layer.keys.items()}

    def problem(self, key: str, what: str, todo: str, entry: str = "") -> Problem:
        """A problem with the value of `key`, or with an entry of it, placed in the layer that set it, or at the top of
        the mirror's file."""
        for layer in self.layers[::-1]:
            if key in layer.keys:
                path = (*layer.base, key, entry) if entry else (*layer.base, key)
                return layer.document.problem(path, what, todo, at_key=bool(entry))
        return self.layers[-1].document.problem((), what, todo)


_RIVALS = frozenset({"interval", "cron"})
"""Keys that say the same in two ways: the nearest layer decides which one holds."""


def merge(layers: Sequence[Layer]) -> Merged:
    """Lay the layers over each other, weakest first."""
    keys: dict[str, Any] = {}
    for layer in layers:
        if layer.keys.keys() & _RIVALS:
            keys = {key: value for key, value in keys.items() if key not in _RIVALS}
        for key, value in layer.keys.items():
            below = keys.get(key)
            both = isinstance(value, dict) and isinstance(below, dict) and key == "env"
            keys[key] = {**below, **value} if both and below is not None else value
    return Merged(keys, tuple(layers))
