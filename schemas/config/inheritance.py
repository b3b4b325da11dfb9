"""Which keys does a mirror inherit, and from which file does each come?

Layers, weakest first: built-in (the record's defaults) < top `_defaults.yml` < the worker's `defaults` < the folders'
`_defaults.yml`, outermost first < the mirror's own file. If `worker` is a mapping in one of them, its keys for a worker
are a layer right above it. Scalars and lists replace; `env` merges key by key. An explicit `false` is simply a later
value, so it replaces an inherited `true`.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from schemas.config.judgeable_keys import NOTHING, JudgeableKeys, WrongValue, keys_at
from schemas.config.yaml_file import Document
from schemas.problems import Problem

PlainKeys = Mapping[str, Any]
"""A mirror's keys with their values as YAML has them, before they are a record."""


class Layer(NamedTuple):
    """One source of keys: a document, and the path in it of the mapping with the keys."""

    document: Document
    base: tuple[str, ...] = ()

    @property
    def keys(self) -> dict[str, Any]:
        """The layer's keys, empty if the document has no such path; reading a wrong one raises UnknownValueError."""
        return keys_at(self.document.value, self.document.wrong, self.base)

    def has(self, *path: str) -> bool:
        """Return whether the layer sets a key, or one at a path below it, whatever its value."""
        return path[-1] in keys_at(self.document.value, NOTHING, (*self.base, *path[:-1]))


class Merged(NamedTuple):
    """The keys that apply to one mirror on one worker, and the layers that they came from."""

    keys: dict[str, Any]
    layers: Sequence[Layer]

    @property
    def own(self) -> dict[str, Any]:
        """The keys that the mirror's own file sets, for all of its workers or for this one."""
        file = self.layers[-1].document
        layers = [layer for layer in self.layers if layer.document is file]
        return layers[0].keys if len(layers) == 1 else merge(layers).keys

    def problem(self, key: str, what: str, todo: str, *entry: str | int) -> Problem:
        """Return a problem of `key`, or of one `entry` of its mapping or list, placed in the layer that set it.

        If no layer sets the key, the place is the top of the mirror's file.
        """
        for layer in self.layers[::-1]:
            if layer.has(key):
                path, at_key = (*layer.base, key, *entry), bool(entry) and isinstance(entry[-1], str)
                return layer.document.problem(path, what, todo, at_key=at_key)
        return self.layers[-1].document.problem((), what, todo)


_RIVALS = frozenset({"interval", "cron"})
"""Keys that exclude each other: setting one removes the inherited other."""


def merge(layers: Sequence[Layer]) -> Merged:
    """Merge the layers, weakest first."""
    keys: dict[str, Any] = {}
    wrong: dict[str, WrongValue] = {}
    partial = False
    for layer in layers:
        found = layer.keys
        bad: Mapping[str, WrongValue] = {}
        if isinstance(found, JudgeableKeys):
            bad = found.wrong
            if found.partial:  # it may set any key, so values of weaker layers may not apply
                keys, wrong, partial = {}, {}, True
        # A layer that sets one of the rivals hides both of weaker layers, even if its value is wrong.
        hidden = bad if _RIVALS.isdisjoint(found) and _RIVALS.isdisjoint(bad) else bad.keys() | _RIVALS
        for key in hidden:
            keys.pop(key, None)
            wrong.pop(key, None)
        wrong.update(bad)
        for key, value in found.items():
            if key != "env":
                keys[key] = value
                wrong.pop(key, None)
            elif key not in wrong and not partial:  # else some of its entries come from a weaker layer
                keys[key] = {**keys.get(key, {}), **value}
    # If all are known, a plain dict, which is read faster.
    return Merged(JudgeableKeys(keys, wrong, partial=partial) if wrong or partial else keys, layers)
