"""One JSON Schema for editors, with the keys of plug-ins and without references to other files."""

import json
from typing import Any

from schemas.config.schema_set import OWN, SchemaSet, schema
from schemas.config.sources import EDITOR_SCHEMAS

KINDS = tuple(EDITOR_SCHEMAS)
"""The kinds of files of a config repository that have a schema."""

_ENDING = ".schema.json"


def bundled(name: str, schemas: SchemaSet = OWN) -> dict[str, Any]:
    """Return the schema called `name`; those that it refers to are in its `$defs`, since editors read one file."""
    whole: dict[str, Any] = _local(schema(name, schemas), name)
    missing = _names(schema(name, schemas)) - {name}
    others: dict[str, Any] = {}
    while missing:
        # In alphabetical order, so that the result is always the same.
        other = min(missing)
        plain = {key: value for key, value in schema(other, schemas).items() if key not in ("$schema", "$id")}
        others[other] = _local(plain, name)
        missing = (missing | _names(plain)) - others.keys() - {name}
    return whole | ({"$defs": others} if others else {})


def text(name: str, schemas: SchemaSet = OWN) -> str:
    """Return the same as JSON with line breaks, as it is kept in a config repository."""
    return json.dumps(bundled(name, schemas), indent=2) + "\n"


def _names(part: Any) -> set[str]:
    """Return the names of the schemas that a part refers to."""
    if isinstance(part, dict):
        own = {file for file in [_file(part)] if file}
        return own.union(*map(_names, part.values()))
    return set().union(*map(_names, part)) if isinstance(part, list) else set()


def _file(part: dict[str, Any]) -> str:
    reference = part.get("$ref")
    return reference.partition("#")[0].removesuffix(_ENDING) if isinstance(reference, str) else ""


def _local(part: Any, name: str) -> Any:
    """Return a part with references into this file instead of others; `name` is the whole file's schema."""
    if isinstance(part, list):
        return [_local(below, name) for below in part]
    if not isinstance(part, dict):
        return part
    found = {key: _local(below, name) for key, below in part.items()}
    if file := _file(part):
        pointer = part["$ref"].partition("#")[2]
        found["$ref"] = f"#{pointer}" if file == name else f"#/$defs/{file}{pointer}"
    return found
