"""Check a document against its JSON Schema, with messages for the author of the file.

The schemas in `files/` serve editors as well. Messages take their examples from them, so an editor's help and the
messages agree.
"""

import functools
import json
from collections.abc import Collection, Iterator, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from schemas.config import quick
from schemas.config.yaml_file import WHOLE, Document, nearest, suggest
from schemas.problems import Problem, shown

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError

SCHEMAS = ("mirror", "defaults", "site", "workers", "runner", "policy", "manager", "report", "commands", "api")
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "empty",
}


@functools.cache
def schema(name: str) -> dict[str, Any]:
    """The JSON Schema called `name`, one of SCHEMAS."""
    text = files("schemas").joinpath("files", f"{name}.schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@functools.cache
def _quick(name: str) -> quick.Test:
    return quick.compile_schema(schema(name), schema)


def fits(name: str, value: object) -> bool:
    """Return whether a value is certainly valid. If False, `schemas.config.strict` decides."""
    return _quick(name)(value)


class _Fault(NamedTuple):
    """A problem, and the path of the value that is unusable because of it."""

    path: tuple[str | int, ...]
    problem: Problem


def check(name: str, document: Document) -> list[Problem]:
    """Return all problems of a document, from the YAML parser and from its schema."""
    return list(examine(name, document).problems)


def examine(name: str, document: Document) -> Document:
    """Return the document with all problems of the YAML parser and of the schema, and their paths.

    A value with a problem from the parser gets none from the schema: it would repeat the first one.
    """
    if () in document.wrong:
        return document
    if not isinstance(document.value, dict):
        what = document.problem((), "The file must contain keys and values.", "Write lines like `key: value`.")
        return document._replace(problems=(*document.problems, what), wrong=WHOLE)
    if fits(name, document.value):
        return document
    from schemas.config.strict import validator

    faults = [
        fault
        for error in validator(name).iter_errors(document.value)
        for fault in _explain(name, document, error)
        if not _is_below(fault.path, document.wrong)
    ]
    wrong = {fault.path for fault in faults} | {path for fault in faults for path in _meant_keys(name, document, fault)}
    return document._replace(
        problems=(*document.problems, *(fault.problem for fault in faults)), wrong=document.wrong | wrong
    )


def _is_below(path: Sequence[str | int], paths: Collection[Sequence[str | int]]) -> bool:
    return any(tuple(path[: len(each)]) == tuple(each) for each in paths)


def _meant_keys(name: str, document: Document, fault: _Fault) -> Iterator[tuple[str | int, ...]]:
    """Yield the key that a misspelt top key was meant to be, so that it is not reported as missing."""
    known = schema(name).get("properties", {})
    if len(fault.path) == 1 and (key := str(fault.path[0])) not in known:
        yield from [(near,) for near in nearest(key, known) if near not in document.value]


def _explain(name: str, document: Document, error: "ValidationError") -> Iterator[_Fault]:
    path = tuple(error.absolute_path)
    rule: Any = error.validator_value
    if error.validator == "additionalProperties":
        known = list(cast("dict[str, Any]", error.schema)["properties"])
        for key in sorted(set(cast("dict[str, Any]", error.instance)) - set(known)):
            what = f"Unknown key `{shown(key)}`."
            yield _Fault((*path, key), document.problem([*path, key], what, suggest(key, known), at_key=True))
    elif error.validator == "required":
        # jsonschema yields an error for each missing key, and names the key only in its message.
        for key in [key for key in rule if f"'{key}'" in error.message]:
            what = f"`{key}` is missing{_inside(path)}."
            yield _Fault((*path, key), document.problem(path, what, _example(name, [*path, key])))
    elif error.validator == "anyOf" and (meant := _meant(error)):
        for below in meant:
            yield from _explain(name, document, below)
    elif "propertyNames" in list(error.absolute_schema_path)[-2:]:
        yield _bad_key(document, path, error)
    else:
        yield _Fault(path, document.problem(path, _what(error, path), _example(name, path)))


def _meant(error: "ValidationError") -> list["ValidationError"]:
    """Return the errors of the alternative of `anyOf` that the value's type shows was meant."""
    others = {each.schema_path[0] for each in error.context if each.validator == "type" and not each.path}
    return [each for each in error.context if each.schema_path[0] not in others]


def _bad_key(document: Document, path: Sequence[str | int], error: "ValidationError") -> _Fault:
    key = cast("str", error.instance)
    todo = "Use at most 64 letters, digits and `._-`, and begin with a letter or digit."
    if "_]" in str(error.validator_value):
        todo = "Use letters, digits and `_`, and do not begin with a digit."
    what = f"`{shown(key)}` is not a valid name."
    return _Fault((*path, key), document.problem([*path, key], what, todo, at_key=True))


def _what(error: "ValidationError", path: Sequence[str | int]) -> str:
    key, rule, value = _subject(path), cast("Any", error.validator_value), _shown(error.instance)
    match error.validator:
        case "type":
            wanted = " or ".join(_TYPES[kind] for kind in ([rule] if isinstance(rule, str) else rule))
            bare = type(error.instance) in (int, float) and _wants_unit(cast("dict[str, Any]", error.schema))
            return f"{key} must be {wanted}, not {value}.{' A bare number has no unit.' if bare else ''}"
        case "enum":
            return f"{key} is {value}, but must be one of " + ", ".join(f"`{each}`" for each in rule) + "."
        case "minimum":
            return f"{key} is {value}, but must be at least {rule}."
        case "maximum":
            return f"{key} is {value}, but must be at most {rule}."
        case "uniqueItems":
            return f"{key} contains an entry twice."
        case "minLength" | "minItems" | "minProperties":
            return f"{key} is empty."
        case "maxLength":
            return f"{key} is longer than {rule} characters."
        case "maxProperties":
            return f"{key} sets more than one key, but only one may be set."
        case _:
            return f"{key} cannot be {value}."


def _subject(path: Sequence[str | int]) -> str:
    """Return the subject of a message: a key, or an entry of the list below a key."""
    if path and isinstance(path[-1], int):
        return f"Entry {path[-1] + 1} of `{next(step for step in reversed(path) if isinstance(step, str))}`"
    return f"`{path[-1] if path else 'this'}`"


def _shown(value: object) -> str:
    return shown(json.dumps(value, ensure_ascii=False))


def _wants_unit(part: dict[str, Any]) -> bool:
    return "(s|m|h|d|w)" in part.get("pattern", "") or "MiB" in part.get("pattern", "")


def _inside(path: Sequence[str | int]) -> str:
    return f" in `{path[-1]}`" if path else ""


def _example(name: str, path: Sequence[str | int]) -> str:
    """Return an example of the nearest described key at or above `path`, as YAML."""
    part: Any = schema(name)
    found = ""
    for step in path:
        part = _descend(part, step)
        if part is None:
            break
        if isinstance(step, str) and part.get("examples"):
            value = part["examples"][0]
            written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found = f"Write for example `{step}: {written}`."
    return found


def _descend(part: dict[str, Any], step: str | int) -> dict[str, Any] | None:
    if "anyOf" in part:
        return next((below for form in part["anyOf"] if (below := _descend(form, step)) is not None), None)
    if isinstance(step, int):
        below = part.get("items")
    else:
        below = part.get("properties", {}).get(step) or part.get("additionalProperties")
    if isinstance(below, dict) and "$ref" in below:
        file, _, pointer = below["$ref"].partition("#")
        target: Any = schema(file.removesuffix(".schema.json"))
        for key in pointer.strip("/").split("/"):
            target = target[key] if key else target
        below = target | {key: value for key, value in below.items() if key != "$ref"}
    return below if isinstance(below, dict) else None
