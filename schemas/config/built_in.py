"""Which providers and hooks are built in, and which keys of a mirror does each read?

They are described in the same form as plug-ins (`schemas/config/fragments.py`), in a file of this package: an outdated
installation may lose the entry points of plug-ins, but never `rsync`.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from importlib.resources import files

from schemas.config.fragments import Fragment
from schemas.plugins import HOOK, PROVIDER

_OWN_MEANING = frozenset({"command"})
"""Keys that all built-in providers read, but each for its own purpose."""


@functools.cache
def plugins(kind: str) -> Mapping[str, Fragment]:
    """Return the built-in providers or hooks by name, in their order."""
    text = files("schemas").joinpath("files", "built_in.plugins.json").read_text("utf-8")
    return {name: Fragment(kind, name, json.dumps(plain)) for name, plain in json.loads(text)[kind].items()}


def kind_of(name: str) -> str | None:
    """Return whether a provider or a hook with this name is built in; None if neither is."""
    return next((kind for kind in (PROVIDER, HOOK) if name in plugins(kind)), None)


@functools.cache
def _of_some_providers() -> frozenset[str]:
    """Return the keys that a provider must know: no hook reads them, and the worker does not serve them for all."""
    found = [frozenset(each.mirror_keys) for each in plugins(PROVIDER).values()]
    of_hooks = {key for each in plugins(HOOK).values() for key in each.mirror_keys}
    for_all = frozenset.intersection(*found) - _OWN_MEANING
    return frozenset().union(*found) - for_all - of_hooks


def readers(key: str, others: Iterable[Fragment] = ()) -> tuple[str, ...] | None:
    """Return the names of the providers for which a mirror's key has an effect; None if it has one for all of them.

    `others` are the fragments of plug-ins.
    """
    known = [*plugins(PROVIDER).values(), *(each for each in others if each.kind == PROVIDER)]
    if key not in _of_some_providers():
        return None
    found = tuple([each.name for each in known if key in each.mirror_keys])
    return None if len(found) == len(known) else found
