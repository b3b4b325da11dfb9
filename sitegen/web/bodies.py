"""Bodies of requests: parses JSON and checks it against its JSON Schema."""

from functools import cache
from typing import Any

from schemas.config import quick
from schemas.config.schema_set import schema, validator
from sitegen.messages.envelope import RejectedRequest, parse


def read(body: bytes, name: str) -> dict[str, Any]:
    """Parse a JSON object that the schema `name` describes, as in `commands#order`; RejectedRequest if invalid."""
    plain = parse(body)
    try:
        if not _quick(name)(plain):
            _check_strictly(plain, name)
    except RecursionError as deep:
        raise RejectedRequest(422, "the body is nested too deeply") from deep
    found: dict[str, Any] = plain
    return found


def _check_strictly(plain: Any, name: str) -> None:
    error = next(_validator(name).iter_errors(plain), None)
    if error is not None:
        raise RejectedRequest(422, f"{error.json_path}: {error.message[:500]}")


@cache
def _quick(name: str) -> quick.Test:
    file, _, part = name.partition("#")
    return quick.compile_schema(schema(file), schema, f"/$defs/{part}")


@cache
def _validator(name: str) -> Any:
    file, _, part = name.partition("#")
    return validator(file).evolve(schema={"$ref": f"{schema(file)['$id']}#/$defs/{part}"})
