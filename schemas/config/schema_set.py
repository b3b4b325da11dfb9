"""Which JSON Schemas are there, with the keys of which plug-ins?

They are read from `files/`, and compiled when they are first needed.
"""

import functools
import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple

from schemas.config import plugin_keys, quick
from schemas.config.fragments import Fragment

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

SCHEMAS = (
    "mirror", "defaults", "site", "workers", "preset", "runner", "policy", "exported_policy", "manager", "report",
    "commands", "api", "forecast",
)  # fmt: skip


class Unusable(NamedTuple):
    """A plug-in whose keys are unknown here, and why: no value of its key can be judged.

    `origin` is its module and distribution as a remark in brackets, empty if it is not installed.
    """

    kind: str
    name: str
    reason: str
    origin: str = ""


class SchemaSet(NamedTuple):
    """The schemas, with the keys of some plug-ins.

    Documents may also use the plug-ins that are `unusable`; their keys accept any value, and `schemas.config.rules`
    reports the mirrors that use them.
    """

    fragments: tuple[Fragment, ...] = ()
    unusable: tuple[Unusable, ...] = ()

    @property
    def unusable_names(self) -> list[str]:
        """The names of the plug-ins whose keys are unknown."""
        return [each.name for each in self.unusable]


OWN = SchemaSet()
"""The schemas without plug-ins."""


def schema(name: str, schemas: SchemaSet = OWN) -> dict[str, Any]:
    """Return the JSON Schema called `name`, one of SCHEMAS. Not to be changed: it is cached."""
    return _made(schemas).schema(name)


def fits(name: str, value: object, schemas: SchemaSet = OWN) -> bool:
    """Return whether a value is certainly valid. If False, `schemas.config.strict` decides."""
    return _made(schemas).test(name)(value)


def validator(name: str, schemas: SchemaSet = OWN) -> "Validator":
    """Return the validator of jsonschema, which is imported only for values that do not certainly fit."""
    return _made(schemas).validator(name)


class _Schemas:
    """The schemas of a set, and what is compiled from them, each made when it is first needed."""

    def __init__(self, schemas: SchemaSet) -> None:
        self._schemas = schemas
        self._schema: dict[str, dict[str, Any]] = {}
        self._tests: dict[str, quick.Test] = {}
        self._validators: dict[str, Validator] = {}

    def schema(self, name: str) -> dict[str, Any]:
        if name not in self._schema:
            self._schema[name] = self._extended(name, _read(name))
        return self._schema[name]

    def test(self, name: str) -> quick.Test:
        if name not in self._tests:
            self._tests[name] = quick.compile_schema(self.schema(name), self.schema)
        return self._tests[name]

    def validator(self, name: str) -> "Validator":
        if name not in self._validators:
            from schemas.config.strict import make

            self._validators[name] = make(name, SCHEMAS, self.schema)
        return self._validators[name]

    def _extended(self, name: str, plain: dict[str, Any]) -> dict[str, Any]:
        if name == "mirror":
            return plugin_keys.mirror(plain, self._schemas.fragments, self._schemas.unusable_names)
        if name == "defaults":
            names = [each.name for each in self._schemas.fragments]
            return plugin_keys.defaults(plain, [*names, *self._schemas.unusable_names])
        return plain


_OWN = _Schemas(OWN)


def _made(schemas: SchemaSet) -> _Schemas:
    return _OWN if schemas == OWN else _extended(schemas)


@functools.lru_cache(maxsize=2)  # the manager reads each revision of a repository, whose plug-ins may change
def _extended(schemas: SchemaSet) -> _Schemas:
    return _Schemas(schemas)


def _read(name: str) -> dict[str, Any]:
    text = files("schemas").joinpath("files", f"{name}.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded
