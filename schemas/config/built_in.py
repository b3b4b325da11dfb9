"""Which providers and hooks are built in, and which keys of a mirror does each read?

They are described in the same form as plug-ins (`schemas/config/fragments.py`), in a file of this package: an outdated
installation may lose the entry points of plug-ins, but never `rsync`.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from schemas.config.fragments import KEYS, Fragment
from schemas.plugins import HOOK, PROVIDER

FOR_EACH_PROVIDER = frozenset(
    {"upstream", "env", "success_exit_codes", "fail_on_match", "max_delete", "max_delete_floor", "max_delete_bytes"}
)
"""Keys that a run reads whatever the provider is: they have an effect with plug-ins and new providers as well."""


@functools.cache
def _table() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return the schema of each built-in plug-in by kind and name."""
    text = files("schemas").joinpath("files", "built_in.plugins.json").read_text("utf-8")
    found: Mapping[str, Mapping[str, Mapping[str, Any]]] = json.loads(text)
    return found


@functools.cache
def plugins(kind: str) -> Mapping[str, Fragment]:
    """Return the built-in providers or hooks by name, in their order."""
    return {name: Fragment(kind, name, json.dumps(plain)) for name, plain in _table()[kind].items()}


def names(kind: str) -> tuple[str, ...]:
    """Return the names of the built-in providers or hooks, in their order."""
    return tuple(_table()[kind])


def kind_of(name: str) -> str | None:
    """Return whether a provider or a hook with this name is built in; None if neither is."""
    return next((kind for kind in (PROVIDER, HOOK) if name in _table()[kind]), None)


@functools.cache
def _of_some_providers() -> frozenset[str]:
    """Return the keys that a provider must know: no hook reads them, and no run does whatever the provider is."""
    found = {key for each in _table()[PROVIDER].values() for key in each[KEYS]}
    of_hooks = {key for each in _table()[HOOK].values() for key in each[KEYS]}
    return frozenset(found - FOR_EACH_PROVIDER - of_hooks)


def readers(key: str, others: Iterable[Fragment] = ()) -> tuple[str, ...] | None:
    """Return the names of the providers for which a mirror's key has an effect; None if it has one for all of them.

    `others` are the fragments of plug-ins.
    """
    if key not in _of_some_providers():
        return None
    known = {name: each[KEYS] for name, each in _table()[PROVIDER].items()}
    known |= {each.name: each.mirror_keys for each in others if each.kind == PROVIDER}
    found = tuple([name for name, keys in known.items() if key in keys])
    return None if len(found) == len(known) else found
