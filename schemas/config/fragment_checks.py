"""Check the schema of a plug-in's keys before any value is validated with it.

A fragment (`schemas/config/fragments.py`) of a repository is untrusted: it may be huge, refer to itself, or hold a
regular expression that never ends. So only a small part of JSON Schema is accepted, every operand is checked, and sizes
are limited. References are replaced by what they name. Then all code behind can treat a fragment like Skipjack's own
schemas.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from schemas import json_text
from schemas.config import quick, safe_patterns
from schemas.config.fragments import KEYS, Fragment
from schemas.problems import shown

MAX_BYTES = 64 * 1024
"""Bytes of one fragment at most."""

# JSON values, parts of the schema, levels of parts, and levels of JSON.
_MAX_VALUES, _MAX_PARTS, _MAX_DEPTH, _MAX_NESTING = 4000, 300, 8, 24
# Alternatives of an `anyOf`, entries of a list, characters of a text, and the highest number.
_MAX_ALTERNATIVES, _MAX_ENTRIES, _MAX_TEXT, _MAX_NUMBER = 4, 100, 1000, 10**15
_PROPERTY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_REFERENCE = re.compile(r"#/\$defs/([^/~%]{1,64})")
_IGNORED = frozenset({"$schema", "$id", "$comment", "$defs", KEYS})

Part = Mapping[str, Any]


class BadFragment(ValueError):  # noqa: N818 - it is what the fragment is
    """A fragment cannot be used; the text says why."""


def read(kind: str, name: str, data: bytes) -> Fragment:
    """Return the fragment in a file's content. Raises BadFragment with the reason."""
    if len(data) > MAX_BYTES:
        raise BadFragment(f"it is larger than {MAX_BYTES // 1024} KiB")
    try:
        found = json_text.parse(data, _MAX_VALUES)
    except ValueError as error:
        raise BadFragment(f"it is not valid JSON: {error}") from error
    return checked(kind, name, found)


def checked(kind: str, name: str, value: Any) -> Fragment:
    """Return the fragment in a parsed JSON value. Raises BadFragment with the reason."""
    # First: all other checks recurse, and put texts of the fragment into messages.
    _check_texts(value, 0)
    if not isinstance(value, dict):
        raise BadFragment("it is not a JSON object")
    for key in ("title", "description"):
        if not value.get(key):
            raise BadFragment(f"`{key}` is missing")
    if value.get("type") != "object" or value.get("additionalProperties") is not False:
        raise BadFragment('it must have `"type": "object"` and `"additionalProperties": false`')
    definitions = value.get("$defs", {})
    if not isinstance(definitions, dict):
        raise BadFragment("`$defs` is not an object")
    whole = _PartChecker(definitions).part(value, "", 0)
    if KEYS in value:
        whole[KEYS] = _mirror_keys(value[KEYS])
    return Fragment(kind, name, json.dumps(whole, separators=(",", ":")))


def without_keys(kind: str, name: str) -> Fragment:
    """Return the fragment of a plug-in that has no keys."""
    plain = {
        "title": f"The {kind} {name}",
        "description": f"The {kind} plug-in `{name}`, which has no keys.",
        "type": "object",
        "additionalProperties": False,
    }
    return checked(kind, name, plain)


def _check_texts(value: Any, depth: int) -> None:
    """Check that all texts can be printed on a line of a terminal, and that no recursion below gets deep."""
    if depth > _MAX_NESTING:
        raise BadFragment("it is nested too deeply")
    if isinstance(value, str) and not value.isprintable():
        raise BadFragment(f"`{shown(value)}` has characters that cannot be printed")
    for key in value if isinstance(value, dict) else ():
        _check_texts(key, depth)
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_texts(below, depth + 1)


def _mirror_keys(value: Any) -> list[str]:
    if not _is_texts(value):
        raise BadFragment(f"`{KEYS}` is not a list of keys")
    return list(dict.fromkeys(value))


class _PartChecker:
    """Checks a schema part by part, and returns it without references. Raises BadFragment."""

    def __init__(self, definitions: Part) -> None:
        self._definitions = definitions
        self._left = _MAX_PARTS

    def part(self, value: Any, where: str, depth: int, *, in_any_of: bool = False) -> dict[str, Any]:
        """Return one part, with a limit for the length of texts that have a pattern."""
        # Counted with references resolved: a few that name each other could stand for millions of parts.
        self._left -= 1
        if not isinstance(value, dict):
            raise BadFragment(f"`{where}` is not a JSON object")
        if depth > _MAX_DEPTH or self._left < 0:
            raise BadFragment(f"it has more than {_MAX_PARTS} parts, or more than {_MAX_DEPTH} levels")
        if "$ref" in value:
            return self.part(self._target(value, where), where, depth + 1, in_any_of=in_any_of)
        # Alternatives within alternatives would multiply the work for one value.
        if in_any_of and "anyOf" in value:
            raise BadFragment(f"`{where}` has an `anyOf` in an `anyOf`")
        found = {key: self._operand(key, operand, where, depth) for key, operand in _known(value, where)}
        _check_form(found, where)
        _check_samples(found, where)
        return dict(sorted(found.items(), key=lambda item: item[0] == "pattern"))  # after `maxLength`

    def _target(self, value: Part, where: str) -> Part:
        """Return the part that a reference names; the texts beside the reference replace those of the part."""
        match = _REFERENCE.fullmatch(str(value["$ref"]))
        target = self._definitions.get(match[1]) if match else None
        if not isinstance(target, dict):
            raise BadFragment(f"`{where}` refers to `{shown(str(value['$ref']))}`, which is not in `$defs`")
        if others := sorted(value.keys() - _PROSE.keys() - {"$ref"}):
            raise BadFragment(f"`{where}` has `{shown(others[0])}` beside `$ref`")
        return {**target, **{key: below for key, below in value.items() if key != "$ref"}}

    def _operand(self, keyword: str, operand: Any, where: str, depth: int) -> Any:
        place = f"{where}/{keyword}"
        if keyword in _SIMPLE:
            accepts, wanted = _SIMPLE[keyword]
            if not accepts(operand):
                raise BadFragment(f"`{place}` is not {wanted}")
            return operand
        if keyword == "properties":
            return self._properties(operand, place, depth)
        if keyword == "anyOf":
            if not isinstance(operand, list) or not 1 <= len(operand) <= _MAX_ALTERNATIVES:
                raise BadFragment(f"`{place}` is not a list of 1 to {_MAX_ALTERNATIVES} alternatives")
            return [self.part(each, place, depth + 1, in_any_of=True) for each in operand]
        if keyword == "additionalProperties" and operand is False:
            return False
        return self.part(operand, place, depth + 1)

    def _properties(self, operand: Any, place: str, depth: int) -> dict[str, Any]:
        if not isinstance(operand, dict):
            raise BadFragment(f"`{place}` is not a JSON object")
        found = {}
        for key, below in operand.items():
            if not _PROPERTY.fullmatch(key):
                raise BadFragment(f"`{shown(key)}` in `{place}` is not a valid name of a key")
            found[key] = self.part(below, f"{place}/{key}", depth + 1)
            if not found[key].get("description"):
                raise BadFragment(f"`{place}/{key}` has no `description`")
        return found


def _known(value: Part, where: str) -> list[tuple[str, Any]]:
    for key in value:
        if key not in _SIMPLE and key not in _NESTED and key not in (_IGNORED if not where else {"$comment"}):
            raise BadFragment(f"the keyword `{shown(key)}` in `{where or '/'}` is not supported")
    return [(key, below) for key, below in value.items() if key not in _IGNORED]


def _check_form(part: dict[str, Any], where: str) -> None:
    """Check keywords that need each other, and complete them, so that no value costs much."""
    is_name = where.endswith("/propertyNames")
    if not ({"type", "enum", "anyOf"} & part.keys() or is_name):
        raise BadFragment(f"`{where}` has neither `type` nor `enum` nor `anyOf`")
    if "object" in _types(part):
        _check_keys(part, where)
    if part.get("uniqueItems") and not _is_plain(part.get("items", {})):
        raise BadFragment(f"`{where}` has `uniqueItems`, so `items` must have the type `string` or `integer`")
    if missing := sorted(set(part.get("required", ())) - part.get("properties", {}).keys()):
        raise BadFragment(f"`{where}/required` names `{shown(missing[0])}`, which is not in `properties`")
    if "pattern" in part:
        longest = part.setdefault("maxLength", safe_patterns.LONGEST)
        if why := safe_patterns.problem(part["pattern"], longest):
            raise BadFragment(f"`{where}/pattern` cannot be used: {why}")


def _is_plain(part: Part) -> bool:
    return "enum" in part or (bool(_types(part)) and set(_types(part)) <= {"string", "integer"})


def _types(part: Part) -> list[str]:
    names: str | list[str] = part.get("type", [])
    return [names] if isinstance(names, str) else names


def _check_keys(part: dict[str, Any], where: str) -> None:
    """Check that a mapping has either known keys or values of one kind: messages name the known keys."""
    rest = part.setdefault("additionalProperties", False)
    if rest is False:
        part.setdefault("properties", {})
    elif "properties" in part:
        raise BadFragment(f"`{where}` has both `properties` and other keys")


def _check_samples(part: dict[str, Any], where: str) -> None:
    """Check that examples and the default are valid: a plug-in relies on the default's type."""
    samples = [*part.get("examples", ()), *([part["default"]] if "default" in part else [])]
    if samples and not all(map(quick.compile_schema(part), samples)):
        raise BadFragment(f"`{where or '/'}` has an example or a default that it does not allow")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TEXT


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MAX_ENTRIES and all(map(_is_text, value))


def _is_number(value: Any) -> bool:
    # Not isinstance, for which `true` is a number.
    return type(value) in (int, float) and abs(value) <= _MAX_NUMBER


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_NUMBER


def _is_enum(value: Any) -> bool:
    whole = isinstance(value, list) and all(type(each) is int and _is_number(each) for each in value)
    return (whole or _is_texts(value)) and 1 <= len(value) <= _MAX_ENTRIES


def _is_type(value: Any) -> bool:
    names = value if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(each, str) and each in quick.TYPES for each in names)


def _is_any(_value: Any) -> bool:
    return True


_OperandRule = tuple[Callable[[Any], bool], str]
_COUNT: _OperandRule = (_is_count, "a whole number of 0 or more")
_NUMBER: _OperandRule = (_is_number, "a number")
_TEXT: _OperandRule = (_is_text, f"a text of up to {_MAX_TEXT} characters")

_PROSE: Mapping[str, _OperandRule] = {
    "title": _TEXT,
    "description": _TEXT,
    "default": (_is_any, ""),
    "examples": (lambda value: isinstance(value, list), "a list"),
    "format": _TEXT,
    "$comment": _TEXT,
}
"""Keywords that describe a part; they may stand beside a reference."""

_SIMPLE: Mapping[str, _OperandRule] = {
    **_PROSE,
    "type": (_is_type, "the name of a type, or a list of such names"),
    "required": (_is_texts, "a list of keys"),
    "enum": (_is_enum, "a list of texts or of whole numbers"),
    "pattern": _TEXT,
    "uniqueItems": (lambda value: isinstance(value, bool), "true or false"),
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _COUNT),
}
"""Keywords whose operands contain no schema: what is accepted, and its name in messages."""

_NESTED = frozenset({"properties", "additionalProperties", "propertyNames", "items", "anyOf", "$ref"})
