"""The jsonschema validator that decides about a value, imported only for values that `quick` does not accept."""

import functools
import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from schemas.config.validation import SCHEMAS, schema


@functools.cache
def validator(name: str) -> Validator:
    """Return the validator of a schema, cached: building it costs 40 times as much as using it."""
    resources = [(schema(each)["$id"], DRAFT202012.create_resource(_plain(each))) for each in SCHEMAS]
    built: Validator = _STRICT(_plain(name), registry=Registry().with_resources(resources))
    return built


def _plain(name: str) -> dict[str, Any]:
    """Return the schema without `$schema`, which would make jsonschema use its own class instead of ours."""
    return {key: value for key, value in schema(name).items() if key != "$schema"}


def _pattern(_validator: object, pattern: str, instance: object, _schema: object) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _compiled(pattern).search(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern with `$` as the very end, as in JSON Schema; in Python a line break may follow."""
    return re.compile(pattern.replace("$", r"\Z"))


_STRICT = extend(  # type: ignore[no-untyped-call] # the stubs leave it so
    Draft202012Validator,
    {"pattern": _pattern},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _checker, value: type(value) is int),
)
"""As in the standard, but `2.0` is not an integer: the code behind it expects an `int`."""
