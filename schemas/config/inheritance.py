"""What a mirror inherits: the layers of keys above it, weakest first, and where each key came from.

built-in (the record's defaults) < top `_defaults.yml` < the worker's `defaults` < the folders' `_defaults.yml`,
outermost first < the mirror's own file. Where one of these has a mapping as `worker`, what that says of a worker stands
right above it. Scalars and lists replace, mappings merge key by key, and an explicit
`false` beats an inherited `true` because it is simply a later value.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas.config.judgeable_keys import NOTHING, JudgeableKeys, keys_at
from schemas.config.yaml_file import Document
from schemas.problems import Problem


class Layer(NamedTuple):
    """One source of keys: a document, and the path in it below which the keys stand."""

    document: Document
    base: tuple[str, ...] = ()

    @property
    def keys(self) -> dict[str, Any]:
        """The layer's keys, of which the wrong ones cannot be asked for; none where the document has no base."""
        return keys_at(self.document.value, self.document.wrong, self.base)

    def has(self, *path: str) -> bool:
        """Tell whether a key stands here, or one below it, whatever its value is."""
        return path[-1] in keys_at(self.document.value, NOTHING, (*self.base, *path[:-1]))


class Merged(NamedTuple):
    """The keys that apply to one mirror on one worker, and the layers that they came from."""

    keys: dict[str, Any]
    layers: tuple[Layer, ...]

    @property
    def own(self) -> dict[str, Any]:
        """The keys that the mirror's own file sets, for all of its workers or for this one."""
        file = self.layers[-1].document
        layers = [layer for layer in self.layers if layer.document is file]
        return layers[0].keys if len(layers) == 1 else merge(layers).keys

    def problem(self, key: str, what: str, todo: str, entry: str = "") -> Problem:
        """A problem with the value of `key`, or with an entry of it, placed in the layer that set it, or at the top of
        the mirror's file."""
        for layer in self.layers[::-1]:
            if layer.has(key):
                path = (*layer.base, key, entry) if entry else (*layer.base, key)
                return layer.document.problem(path, what, todo, at_key=bool(entry))
        return self.layers[-1].document.problem((), what, todo)


_RIVALS = frozenset({"interval", "cron"})
"""Keys that say the same in two ways: the nearest layer decides which one holds."""


def merge(layers: Sequence[Layer]) -> Merged:
    """Lay the layers over each other, weakest first."""
    keys: dict[str, Any] = {}
    wrong: set[str] = set()
    partial = False
    for layer in layers:
        found = layer.keys
        bad: frozenset[str] = frozenset()
        if isinstance(found, JudgeableKeys):
            bad = found.wrong
            if found.partial:
                keys, wrong, partial = {}, set(), True
        hidden = bad if _RIVALS.isdisjoint(found) and _RIVALS.isdisjoint(bad) else bad | _RIVALS
        for key in hidden:
            keys.pop(key, None)
            wrong.discard(key)
        wrong |= bad
        for key, value in found.items():
            if key != "env":
                keys[key] = value
                wrong.discard(key)
            elif key in wrong or (partial and key not in keys):
                wrong.add(key)  # some of its entries come from below
            else:
                keys[key] = {**keys.get(key, {}), **value}
    return Merged(JudgeableKeys(keys, wrong, partial=partial) if wrong or partial else keys, tuple(layers))
