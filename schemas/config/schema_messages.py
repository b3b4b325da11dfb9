"""What is wrong with a value that its JSON Schema does not accept, and what should its author write?

The schemas in `files/` serve editors as well. Messages take their examples from them, so an editor's help and the
messages agree.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from schemas.config.schema_set import SchemaSet, schema
from schemas.config.yaml_file import Document, nearest, suggest
from schemas.names import NAME_PATTERN
from schemas.problems import Problem, shown
from schemas.secret_shapes import NAME

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "empty",
}
_LIMITS = {
    "minLength": (True, "characters"),
    "minItems": (True, "entries"),
    "minProperties": (True, "keys"),
    "maxItems": (False, "entries"),
    "maxProperties": (False, "keys"),
}
"""Whether a value has too few, and of what."""


_KEYS_OF_MIRRORS = "docs/configuration.md or `skipjack schema`"
"""Where people find all keys of a mirror, which are too many for a message."""


class Fault(NamedTuple):
    """A problem, and the path of the value that is unusable because of it; `of_key` for a wrong name of a key.

    With `usable`, rules can judge the value all the same.
    """

    path: tuple[str | int, ...]
    problem: Problem
    of_key: bool = False
    usable: bool = False


class Explanation:
    """Words the errors of one document."""

    def __init__(self, name: str, document: Document, schemas: SchemaSet) -> None:
        self._name, self._schema = name, schema(name, schemas)
        self._schemas = schemas
        self._document = document

    def meant_keys(self, fault: Fault) -> Iterator[tuple[str | int, ...]]:
        """Yield the key that a misspelt top key was meant to be, so that it is not reported as missing."""
        known = self._schema.get("properties", {})
        if len(fault.path) == 1 and (key := str(fault.path[0])) not in known and not self._may_be_plugin(key, known):
            yield from [(near,) for near in nearest(key, known) if near not in self._document.value]

    def faults(self, error: "ValidationError") -> Iterator[Fault]:
        """Yield the problems that an error of jsonschema stands for."""
        path, document = tuple(error.absolute_path), self._document
        rule: Any = error.validator_value
        if error.validator == "additionalProperties":
            known = list(cast("dict[str, Any]", error.schema)["properties"])
            for key in sorted(set(cast("dict[str, Any]", error.instance)) - set(known)):
                what, todo = self._unknown_key(path, key, known)
                yield Fault((*path, key), document.problem([*path, key], what, todo, at_key=True), True)
        elif error.validator == "required":
            # jsonschema yields an error for each missing key, and names the key only in its message.
            for key in [key for key in rule if f"'{key}'" in error.message]:
                what = f"`{key}` is missing{_inside(path)}."
                yield Fault((*path, key), document.problem(path, what, self._example([*path, key])))
        elif error.validator == "anyOf" and (meant := _meant(error)):
            for below in meant:
                yield from self.faults(below)
        elif "propertyNames" in list(error.absolute_schema_path)[-2:]:
            yield _bad_key(document, path, error)
        elif error.validator == "enum" and path[-1:] == ("provider",):
            yield Fault(path, document.problem(path, *_unknown_provider(error)))
        else:
            usable = error.validator == "uniqueItems"
            yield Fault(path, document.problem(path, _what(error, path), self._example(path)), usable=usable)

    def _unknown_key(self, path: Sequence[str | int], key: str, known: list[str]) -> tuple[str, str]:
        """Return the message about a key that the mapping at `path` cannot have, and what to do."""
        if not self._has_keys_of_mirrors(path):
            return f"Unknown key `{shown(key)}`.", suggest(key, known)
        if key in schema("mirror")["properties"]:
            if path[:1] == ("worker",):
                return f"`{key}` cannot differ on `{path[1]}`.", "Set it for the mirror as a whole."
            return f"`{key}` cannot be inherited.", "Set it in the file of each mirror."
        what = f"Unknown key `{shown(key)}`."
        if path or not self._may_be_plugin(key, known):
            return what, suggest(key, known, _KEYS_OF_MIRRORS)
        file = f"`.skipjack/schemas/{shown(key)}.hook.schema.json`"
        return what, f"If a plug-in has it, install that or add {file}. {suggest('', known, _KEYS_OF_MIRRORS)}"

    def _has_keys_of_mirrors(self, path: Sequence[str | int]) -> bool:
        """Return whether the mapping at `path` has keys of a mirror, for all of its workers or for one."""
        if self._name == "workers":
            return len(path) == 3 and path[2] == "defaults"
        return self._name in ("mirror", "defaults") and (not path or (len(path) == 2 and path[0] == "worker"))

    def _may_be_plugin(self, key: str, known: Collection[str]) -> bool:
        """Return whether an unknown key of a mirror looks like the name of a hook that is not installed here.

        A similar key that takes no mapping was not meant.
        """
        if self._name not in ("mirror", "defaults") or not isinstance(self._document.value[key], Mapping):
            return False
        return not any(self._takes_mapping(near) for near in nearest(key, known))

    @staticmethod
    def _takes_mapping(key: str) -> bool:
        of_mirror = schema("mirror")["properties"]
        part = of_mirror.get(key, {"type": "object"})  # any other known key is that of a plug-in
        return any(form.get("type") == "object" for form in part.get("anyOf", [part]))

    def _example(self, path: Sequence[str | int]) -> str:
        """Return an example of the nearest described key at or above `path`, as YAML."""
        part: Any = self._schema
        found = ""
        for step in path:
            part = self._descend(part, step)
            if part is None:
                break
            if isinstance(step, str) and part.get("examples"):
                value = part["examples"][0]
                written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                found = f"Write for example `{step}: {written}`."
        return found

    def _descend(self, part: dict[str, Any], step: str | int) -> dict[str, Any] | None:
        if "anyOf" in part:
            return next((below for form in part["anyOf"] if (below := self._descend(form, step)) is not None), None)
        if isinstance(step, int):
            below = part.get("items")
        else:
            below = part.get("properties", {}).get(step) or part.get("additionalProperties")
        if isinstance(below, dict) and "$ref" in below:
            file, _, pointer = below["$ref"].partition("#")
            target: Any = schema(file.removesuffix(".schema.json"), self._schemas)
            for key in pointer.strip("/").split("/"):
                target = target[key] if key else target
            below = target | {key: value for key, value in below.items() if key != "$ref"}
        return below if isinstance(below, dict) else None


def is_number_among_texts(error: "ValidationError") -> bool:
    """Return whether a list of any texts has a number, as `[--timeout, 60]` has; rules can still judge the list."""
    is_entry = bool(error.absolute_path) and isinstance(error.absolute_path[-1], int)
    is_number = isinstance(error.instance, int | float) and not isinstance(error.instance, bool)
    is_any_text = isinstance(error.schema, dict) and error.schema.keys().isdisjoint(("pattern", "enum", "anyOf"))
    return is_entry and is_number and error.validator == "type" and error.validator_value == "string" and is_any_text


def _unknown_provider(error: "ValidationError") -> tuple[str, str]:
    """Return the message about a provider that is neither built in nor known from a plug-in, and what to do."""
    name = error.instance
    if not isinstance(name, str):
        return _what(error, ("provider",)), "Write for example `provider: rsync`."
    known = cast("list[str]", error.validator_value)
    plugin = "no plug-in of this name is installed here, and the repository has no"
    file = f"`.skipjack/schemas/{shown(name)}.provider.schema.json`"
    return f"Unknown provider `{shown(name)}`: {plugin} {file}.", suggest(name, known)


def _meant(error: "ValidationError") -> list["ValidationError"]:
    """Return the errors of the alternative of `anyOf` that the value's type shows was meant."""
    others = {each.schema_path[0] for each in error.context if each.validator == "type" and not each.path}
    return [each for each in error.context if each.schema_path[0] not in others]


def _bad_key(document: Document, path: Sequence[str | int], error: "ValidationError") -> Fault:
    key = cast("str", error.instance)
    todo = "Use at most 64 letters, digits and `._-`, and begin with a letter or digit."
    rule = str(error.validator_value)
    if "_]" in rule:
        todo = "Use letters, digits and `_`, and do not begin with a digit."
    elif rule != NAME_PATTERN:
        todo = f"It must match `{shown(rule)}`." if error.validator == "pattern" else "See the schema of the plug-in."
    what = f"`{shown(key)}` is not a valid name."
    return Fault((*path, key), document.problem([*path, key], what, todo, at_key=True), True)


def _what(error: "ValidationError", path: Sequence[str | int]) -> str:
    key, rule, value = _subject(path), cast("Any", error.validator_value), _shown_at(path, error.instance)
    match error.validator:
        case "type":
            wanted = " or ".join(_TYPES[kind] for kind in ([rule] if isinstance(rule, str) else rule))
            bare = type(error.instance) in (int, float) and _wants_unit(cast("dict[str, Any]", error.schema))
            return f"{key} must be {wanted}, not {value}.{' A bare number has no unit.' if bare else ''}"
        case "enum":
            return f"{key} is {value}, but must be one of " + ", ".join(f"`{_plain(each)}`" for each in rule) + "."
        case "minimum":
            return f"{key} is {value}, but must be at least {rule}."
        case "maximum":
            return f"{key} is {value}, but must be at most {rule}."
        case "uniqueItems":
            return f"{key} contains an entry twice."
        case "minLength" | "minItems" | "minProperties" if not error.instance:
            return f"{key} is empty."
        case "maxLength":
            return f"{key} is longer than {rule} characters."
        case "maxProperties" if rule == 1:
            return f"{key} sets more than one key, but only one may be set."
        case "minLength" | "minItems" | "minProperties" | "maxItems" | "maxProperties" as limit:
            few, unit = _LIMITS[limit]
            return f"{key} has {'fewer' if few else 'more'} than {rule} {unit}."
        case _:
            return f"{key} cannot be {value}."


def _subject(path: Sequence[str | int]) -> str:
    """Return the subject of a message: a key, or an entry of the list below a key."""
    if path and isinstance(path[-1], int):
        return f"Entry {path[-1] + 1} of `{next(step for step in reversed(path) if isinstance(step, str))}`"
    return f"`{path[-1] if path else 'this'}`"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _shown(value: object) -> str:
    return shown(json.dumps(value, ensure_ascii=False))


def _shown_at(path: Sequence[str | int], value: object) -> str:
    """Return a value for a message, masked if a key of its path is the name of a secret."""
    is_secret = any(isinstance(step, str) and NAME.fullmatch(step) for step in path)
    return "`***`" if is_secret and not isinstance(value, dict) else _shown(value)


def _wants_unit(part: dict[str, Any]) -> bool:
    return "(s|m|h|d|w)" in part.get("pattern", "") or "MiB" in part.get("pattern", "")


def _inside(path: Sequence[str | int]) -> str:
    return f" in `{path[-1]}`" if path else ""
