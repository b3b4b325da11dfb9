"""How the keys of plug-ins come into the schemas of mirrors: each under the plug-in's name."""

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.config import built_in
from schemas.config.fragments import Fragment
from schemas.plugins import PROVIDER

OFF = {"type": "boolean", "enum": [False]}
"""`false` instead of a plug-in's keys, as if an inherited key was not set."""


def mirror(plain: dict[str, Any], fragments: Iterable[Fragment], unusable: Iterable[str]) -> dict[str, Any]:
    """Return the schema of mirrors with the names of all providers, and the keys of plug-ins."""
    found, free = tuple(fragments), tuple(unusable)
    properties: dict[str, Any] = plain["properties"]
    names = [*built_in.names(PROVIDER), *(each.name for each in found if each.kind == PROVIDER), *free]
    provider = {"enum": names, **{key: value for key, value in properties["provider"].items() if key != "type"}}
    keys = {each.name: _key(each) for each in found} | {name: {} for name in free}
    return plain | {"properties": properties | {"provider": provider} | keys}


def defaults(plain: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the schema of inherited keys with those of plug-ins."""
    keys = {name: {"$ref": f"mirror.schema.json#/properties/{name}"} for name in names}
    return plain | {"properties": plain["properties"] | keys}


def _key(fragment: Fragment) -> dict[str, Any]:
    schema = fragment.schema
    texts = {"title": schema["title"], "description": schema["description"]}
    return texts | {"anyOf": [schema, OFF], "examples": [example(schema)]}


def example(schema: Mapping[str, Any]) -> Any:
    """Return an example of a plug-in's keys: its own one, or made from those of its keys that have one."""
    if schema.get("examples"):
        return schema["examples"][0]
    properties: Mapping[str, Mapping[str, Any]] = schema["properties"]
    return {key: part["examples"][0] for key, part in properties.items() if part.get("examples")}
