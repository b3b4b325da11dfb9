"""A fast yes or "ask the real validator": our schemas, compiled into a few Python functions.

jsonschema takes about 0.4 ms for one report, ten times as long as everything else that a request needs, and to import
it is a third of the start of a command. What passes here is valid; what does not goes to jsonschema, which has the
last word and finds the words. A keyword that is not known here is an error when compiling, so the two cannot drift
apart unnoticed.
"""

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

Test = Callable[[Any], bool]
Schema = Mapping[str, Any]

_PROSE = frozenset(
    {"$schema", "$id", "$defs", "title", "description", "examples", "default", "format", "x-providers", "x-required"}
)
_REST = "additionalProperties"
_NUMBER = "(type(v) is int or type(v) is float)"
_TYPES: Mapping[str, str] = {
    "object": "type(v) is dict",
    "array": "type(v) is list",
    "string": "type(v) is str",
    "boolean": "type(v) is bool",
    "integer": "type(v) is int",
    "number": _NUMBER,
    "null": "v is None",
}
"""What has to be true of a value `v`."""


def _no_other(name: str) -> Schema:
    raise KeyError(name)


def compile_schema(schema: Schema, read: Callable[[str], Schema] = _no_other, part: str = "") -> Test:
    """Turn a schema, or the part of it that a JSON pointer names, into a function; `read` gives another schema by name.

    Raises KeyError for a keyword or type that this module does not know, in another schema only when it is needed.
    """
    return _Compiler(schema, read).function(_part(schema, part))


def _part(schema: Schema, pointer: str) -> Schema:
    return functools.reduce(lambda whole, key: whole[key], pointer.split("/")[1:], schema)


class _Compiler:
    """Writes an expression of `v` for each keyword; what these need beside it goes by numbered names."""

    def __init__(self, schema: Schema, read: Callable[[str], Schema]) -> None:
        self._schema, self._read = schema, read
        self._names: dict[str, Any] = {}

    def function(self, schema: Schema) -> Test:
        """A function that tells whether a value is valid."""
        return self._made("v", self._expression(schema))

    def _expression(self, schema: Schema) -> str:
        tests = [_KEYWORDS[key](self, value) for key, value in schema.items() if key not in _PROSE | {_REST}]
        if _REST in schema:
            tests.append(self.rest(schema[_REST], frozenset(schema.get("properties", ()))))
        return _joined(" and ", tests)

    def _made(self, argument: str, expression: str) -> Test:
        made: Test = eval(f"lambda {argument}: {expression}", self._names)  # noqa: S307 - it is made of our own schema
        return made

    def _named(self, value: Any) -> str:
        name = f"n{len(self._names)}"
        self._names[name] = value
        return name

    def type(self, names: str | list[str]) -> str:
        return _joined(" or ", [_TYPES[name] for name in ([names] if isinstance(names, str) else names)])

    def properties(self, schemas: Mapping[str, Schema]) -> str:
        tests = [
            f"({key!r} not in o or (v := o[{key!r}]) is v and {self._expression(schema)})"
            for key, schema in schemas.items()
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
        return f"type(v) is {type(values[0]).__name__} and v in {self._named(frozenset(values))}"

    def pattern(self, pattern: str) -> str:
        strict = re.compile(pattern.replace("$", r"\Z"))  # not before a line break at the end
        return f"(type(v) is not str or {self._named(strict.search)}(v) is not None)"

    def unique(self, wanted: bool) -> str:
        return f"(type(v) is not list or {self._named(_differ)}(v))" if wanted else "True"

    def reference(self, name: str) -> str:
        file, _, pointer = name.partition("#")
        if file:
            return f"{self._named(self._elsewhere(file.removesuffix('.schema.json'), pointer))}(v)"
        return self._expression(_part(self._schema, pointer))

    def _elsewhere(self, name: str, pointer: str) -> Test:
        """Compiled when a value needs it: schemas name each other in circles."""
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
    "minimum": lambda _, limit: f"(not {_NUMBER} or v >= {limit!r})",
    "maximum": lambda _, limit: f"(not {_NUMBER} or v <= {limit!r})",
    "minLength": lambda _, limit: f"(type(v) is not str or len(v) >= {limit!r})",
    "maxLength": lambda _, limit: f"(type(v) is not str or len(v) <= {limit!r})",
    "minItems": lambda _, limit: f"(type(v) is not list or len(v) >= {limit!r})",
    "maxItems": lambda _, limit: f"(type(v) is not list or len(v) <= {limit!r})",
    "minProperties": lambda _, limit: f"(type(v) is not dict or len(v) >= {limit!r})",
    "maxProperties": lambda _, limit: f"(type(v) is not dict or len(v) <= {limit!r})",
}


def _joined(word: str, parts: list[str]) -> str:
    """One expression of several; of none it is true, whatever the value."""
    return f"({word.join(parts)})" if parts else "True"


def _differ(values: list[Any]) -> bool:
    """Whether texts or whole numbers are all different; of anything else the real validator must tell."""
    return {type(value) for value in values} <= {str, int} and len(set(values)) == len(values)
