"""Rules about the keys of plug-ins, beside their schemas."""

from collections.abc import Iterator

from schemas.config import built_in
from schemas.config.inheritance import Merged
from schemas.config.judgeable_keys import JudgeableKeys, is_known, is_set
from schemas.config.schema_set import SchemaSet
from schemas.plugins import PROVIDER
from schemas.problems import Problem


def unusable(merged: Merged, schemas: SchemaSet) -> Iterator[Problem]:
    """Report a plug-in that the mirror uses although its keys are unknown here."""
    for kind, name, reason, origin in schemas.unusable:
        key = "provider" if kind == PROVIDER else name
        value = merged.keys.get(key, False) if is_known(merged.keys, key) else False
        if value is not False and (kind != PROVIDER or value == name):
            yield merged.problem(key, f"The {kind} plug-in `{name}`{origin} cannot be used: {reason}.", _TODO)


_TODO = "Correct that first, or do not use the plug-in."


def missing(merged: Merged, schemas: SchemaSet) -> Iterator[Problem]:
    """Report a provider whose key is missing although the provider needs keys below it."""
    name = merged.keys.get("provider")
    for fragment in schemas.fragments:
        if fragment.kind == PROVIDER and fragment.name == name and merged.keys.get(name, False) is False:
            for key in fragment.schema.get("required", ()):
                todo = f"Add `{key}` below `{name}:`."
                yield merged.problem("provider", f"`{name}` is missing: the provider needs `{key}` there.", todo)


def foreign(merged: Merged, schemas: SchemaSet) -> Iterator[Problem]:
    """Report keys in the mirror's own file that its provider ignores; inherited ones may serve other mirrors."""
    provider = merged.keys.get("provider")
    own = merged.own
    wrong = own.wrong if isinstance(own, JudgeableKeys) else ()
    used = [*(key for key in own if own[key] is not False), *(key for key in wrong if is_set(own, key))]
    for key in used if provider else ():
        providers = readers(key, schemas)
        if providers is not None and provider not in providers:
            todo = f"Remove it, or set `provider: {providers[0]}`."
            yield merged.problem(key, f"`{key}` has no effect with the provider `{provider}`.", todo)


def readers(key: str, schemas: SchemaSet) -> tuple[str, ...] | None:
    """Return the names of the providers for which a key has an effect; None if it has one for all of them."""
    if any(fragment.kind == PROVIDER and fragment.name == key for fragment in schemas.fragments):
        return (key,)
    return built_in.readers(key, schemas.fragments)
