"""The jsonschema validator that decides about a value, imported only for values that `quick` does not accept."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from schemas.config.quick import Schema, compiled


def make(name: str, names: Iterable[str], read: Callable[[str], Schema]) -> Validator:
    """Return the validator of a schema. Costs 40 times as much as using it.

    `names` are those of all schemas, which may refer to each other; `read` returns a schema by name.
    """
    resources = [(read(each)["$id"], DRAFT202012.create_resource(_plain(read(each)))) for each in names]
    built: Validator = _STRICT(_plain(read(name)), registry=Registry().with_resources(resources))
    return built


def _plain(schema: Schema) -> dict[str, Any]:
    """Return the schema without `$schema`, which would make jsonschema use its own class instead of Skipjack's."""
    return {key: value for key, value in schema.items() if key != "$schema"}


def _pattern(_validator: object, pattern: str, instance: object, schema: Schema) -> Iterator[ValidationError]:
    """Match texts only up to `maxLength`, which has its own message: a longer one could take long."""
    if not isinstance(instance, str) or len(instance) > schema.get("maxLength", len(instance)):
        return
    if not compiled(pattern).search(instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _unique(_validator: object, wanted: bool, instance: object, _schema: Schema) -> Iterator[ValidationError]:
    """Compare texts and numbers only: jsonschema compares each pair of others, for hours in a long list.

    Lists of anything else are invalid anyway: `items` of each such list allows only texts or numbers.
    """
    values = [each for each in instance if isinstance(each, str | int)] if isinstance(instance, list) else []
    if wanted and len({(type(each), each) for each in values}) < len(values):
        yield ValidationError(f"{instance!r} has non-unique elements")


_STRICT = extend(  # type: ignore[no-untyped-call] # the stubs leave it so
    Draft202012Validator,
    {"pattern": _pattern, "uniqueItems": _unique},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _checker, value: type(value) is int),
)
"""As in the standard, but `2.0` is not an integer: the code behind it expects an `int`."""
