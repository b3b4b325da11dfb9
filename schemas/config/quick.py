"""Compile a JSON Schema into a Python function that returns whether a value is certainly valid.

jsonschema takes about 0.4 ms for one report, ten times as long as everything else in a request, and its import is a
third of the start of a command. A value that passes here is valid; for any other jsonschema decides and words the
errors. Compiling fails for an unknown keyword, so the two cannot drift apart unnoticed. docs/decisions/12-validation.md
compares this with jsonschema-rs.

The functions are compiled from Python source that has no text of a schema in it, only fixed words and numbered names:
schemas of plug-ins come from a config repository, which must not be able to write code.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

Test = Callable[[Any], bool]
Schema = Mapping[str, Any]

# Keywords that reject nothing. `format` is among them: jsonschema checks it only on request.
_PROSE = frozenset(
    {"$schema", "$id", "$defs", "title", "description", "examples", "default", "format", "x-mirror-keys", "x-required"}
)
_REST = "additionalProperties"
_NUMBER = "(type(v) is int or type(v) is float)"
# Compared types, not isinstance: for Python `True` is an int.
TYPES: Mapping[str, str] = {
    "object": "type(v) is dict",
    "array": "type(v) is list",
    "string": "type(v) is str",
    "boolean": "type(v) is bool",
    "integer": "type(v) is int",
    "number": _NUMBER,
    "null": "v is None",
}
"""The Python condition on a value `v` for each type."""


def _no_other(name: str) -> Schema:
    raise KeyError(name)


def compile_schema(schema: Schema, read: Callable[[str], Schema] = _no_other, part: str = "") -> Test:
    """Compile a schema, or the part of it at a JSON pointer; `read` returns another schema by name.

    Raises KeyError for an unknown keyword or type; for one in another schema, when a value first needs that.
    """
    return _Compiler(schema, read).function(_part(schema, part))


def _part(schema: Schema, pointer: str) -> Schema:
    return functools.reduce(lambda whole, key: whole[key], pointer.split("/")[1:], schema)


class _Compiler:
    """Writes a Python expression of `v` for each keyword; other objects get numbered names."""

    def __init__(self, schema: Schema, read: Callable[[str], Schema]) -> None:
        self._schema, self._read = schema, read
        self._names: dict[str, Any] = {}

    def function(self, schema: Schema) -> Test:
        """Return a function that returns whether a value is valid."""
        return self._made("v", self._expression(schema))

    def _expression(self, schema: Schema) -> str:
        tests = [_KEYWORDS[key](self, value) for key, value in schema.items() if key not in _PROSE | {_REST}]
        if _REST in schema:
            tests.append(self.rest(schema[_REST], frozenset(schema.get("properties", ()))))
        return _joined(" and ", tests)

    def _made(self, argument: str, expression: str) -> Test:
        made: Test = eval(f"lambda {argument}: {expression}", self._names)  # noqa: S307 - no text of a schema is in it
        return made

    def _named(self, value: Any) -> str:
        name = f"n{len(self._names)}"
        self._names[name] = value
        return name

    def type(self, names: str | list[str]) -> str:
        return _joined(" or ", [TYPES[name] for name in ([names] if isinstance(names, str) else names)])

    def properties(self, schemas: Mapping[str, Schema]) -> str:
        tests = [
            # `(v := …) is v` is always true: it only gives the value its name.
            f"({name} not in o or (v := o[{name}]) is v and {self._expression(schema)})"
            for name, schema in [(self._named(key), schema) for key, schema in schemas.items()]
        ]
        return f"(type(v) is not dict or {self._named(self._made('o', _joined(' and ', tests)))}(v))"

    def required(self, keys: list[str]) -> str:
        return f"(type(v) is not dict or {self._named(frozenset(keys))} <= v.keys())"

    def rest(self, schema: Schema | bool, known: frozenset[str]) -> str:
        if schema is True:
            return "True"
        names = self._named(known)
        if schema is False:
            return f"(type(v) is not dict or v.keys() <= {names})"
        test = self._named(self.function(schema))
        return f"(type(v) is not dict or all(map({test}, [v[key] for key in v.keys() - {names}])))"

    def names(self, schema: Schema) -> str:
        return f"(type(v) is not dict or all(map({self._named(self.function(schema))}, v)))"

    def items(self, schema: Schema) -> str:
        return f"(type(v) is not list or all(map({self._named(self.function(schema))}, v)))"

    def enum(self, values: list[str] | list[int]) -> str:
        return f"type(v) is {self._named(type(values[0]))} and v in {self._named(frozenset(values))}"

    def pattern(self, pattern: str) -> str:
        return f"(type(v) is not str or {self._named(compiled(pattern).search)}(v) is not None)"

    def unique(self, wanted: bool) -> str:
        return f"(type(v) is not list or {self._named(_differ)}(v))" if wanted else "True"

    def reference(self, name: str) -> str:
        file, _, pointer = name.partition("#")
        if file:
            return f"{self._named(self._elsewhere(file.removesuffix('.schema.json'), pointer))}(v)"
        return self._expression(_part(self._schema, pointer))

    def _elsewhere(self, name: str, pointer: str) -> Test:
        """Compile a part of another schema when a value first needs it: schemas refer to each other in circles."""
        made = functools.cache(lambda: compile_schema(self._read(name), self._read, pointer))
        return lambda value: made()(value)

    def all_of(self, schemas: list[Schema]) -> str:
        return _joined(" and ", [self._expression(schema) for schema in schemas])

    def any_of(self, schemas: list[Schema]) -> str:
        return _joined(" or ", [self._expression(schema) for schema in schemas])


_KEYWORDS: Mapping[str, Callable[[_Compiler, Any], str]] = {
    "type": _Compiler.type,
    "properties": _Compiler.properties,
    "required": _Compiler.required,
    "propertyNames": _Compiler.names,
    "items": _Compiler.items,
    "enum": _Compiler.enum,
    "pattern": _Compiler.pattern,
    "uniqueItems": _Compiler.unique,
    "$ref": _Compiler.reference,
    "allOf": _Compiler.all_of,
    "anyOf": _Compiler.any_of,
    "minimum": lambda self, limit: f"(not {_NUMBER} or v >= {self._named(limit)})",
    "maximum": lambda self, limit: f"(not {_NUMBER} or v <= {self._named(limit)})",
    "minLength": lambda self, limit: f"(type(v) is not str or len(v) >= {self._named(limit)})",
    "maxLength": lambda self, limit: f"(type(v) is not str or len(v) <= {self._named(limit)})",
    "minItems": lambda self, limit: f"(type(v) is not list or len(v) >= {self._named(limit)})",
    "maxItems": lambda self, limit: f"(type(v) is not list or len(v) <= {self._named(limit)})",
    "minProperties": lambda self, limit: f"(type(v) is not dict or len(v) >= {self._named(limit)})",
    "maxProperties": lambda self, limit: f"(type(v) is not dict or len(v) <= {self._named(limit)})",
}


@functools.lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern with `$` as the very end, as in JSON Schema; in Python a line break may follow."""
    return re.compile(pattern.replace("$", r"\Z"))


def _joined(word: str, parts: list[str]) -> str:
    """Join expressions; without any the result is true for every value."""
    return f"({word.join(parts)})" if parts else "True"


def _differ(values: list[Any]) -> bool:
    """Return whether strings or integers are all different; for other values jsonschema decides."""
    return {type(value) for value in values} <= {str, int} and len(set(values)) == len(values)
