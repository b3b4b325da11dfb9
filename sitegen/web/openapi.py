"""The API's OpenAPI document, made from the rows that make the application and from the JSON Schemas."""

import functools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from schemas import VERSION
from schemas.config.schema_set import schema
from sitegen.web import endpoint
from sitegen.web.endpoint import Endpoint, Parameter
from sitegen.web.responses import CachedBody, Json, cached

_FILES = ("report", "commands", "api")
_INLINED = "exported_policy"
"""A file whose references to the files of settings are replaced by what they refer to: no message has these files."""

_REFERENCE = re.compile(r"(\w+)?(?:\.schema\.json)?#/\$defs/(\w+)")
_TOKEN = {"token": list[str]()}  # a scheme without scopes has an empty list in OpenAPI
# An empty requirement means that a request needs no credentials.
_SECURITY: dict[str, list[dict[str, list[str]]]] = {
    endpoint.WORKER: [_TOKEN],
    endpoint.OPERATOR: [_TOKEN],
    endpoint.READER: [_TOKEN],
    endpoint.LISTED: [{}],
    endpoint.SIGNED: [{}],
    endpoint.ANYONE: [{}, _TOKEN],
}
_WHO = {
    endpoint.WORKER: "Requires a worker's token.",
    endpoint.OPERATOR: "Requires an operator's token.",
    endpoint.READER: "Requires an operator's or a reader's token.",
    endpoint.LISTED: "Requires no token, but an address in `tunasync.writes_from`.",
    endpoint.SIGNED: "Requires no token, but a signature with the secret of `webhook`, or `X-Gitlab-Token`.",
    endpoint.ANYONE: "Public, unless `protected_reads` requires a token.",
}


def endpoint_of(rows: Sequence[Endpoint]) -> Endpoint:
    """Return the row of the document itself, which the document describes as well."""
    body: list[CachedBody] = []

    async def describe(request: Request) -> Response:
        return cached(request, body[0])

    row = Endpoint("GET", "/api/v1/openapi.json", describe, "This document.", "api#openapi", endpoint.ANYONE)
    body.append(CachedBody(bytes(Json(document([*rows, row])).body)))
    return row


def document(rows: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the document in the format of OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Skipjack manager", "version": VERSION},
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(row: Endpoint) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "summary": row.summary,
        "description": _WHO[row.access],
        "security": _SECURITY[row.access],
        "parameters": [*_in_path(row.path), *map(_in_query, row.parameters)],
        "responses": {str(status): _answer("Success.", row.answer) for status in (row.status, *row.also)}
        | _refusals(row),
    }
    if row.body is not None:
        plain["requestBody"] = {"required": True, "content": _content(row.body)}
    return plain


def _refusals(row: Endpoint) -> dict[str, Any]:
    rejected = _answer("Rejected; `error` has the reason.", "api#error")
    # `default`, because every route can also answer 401, 429, 500 or 503.
    return {str(status): rejected for status in row.refusals} | {"default": rejected}


def _in_path(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _in_query(parameter: Parameter) -> dict[str, Any]:
    kind = {"type": "integer", "minimum": 0} if parameter.number else {"type": "string"}
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.meaning,
        "schema": kind,
    }


def _answer(description: str, name: str) -> dict[str, Any]:
    return {"description": description, "content": _content(name)}


def _content(name: str) -> dict[str, Any]:
    if name == "text":
        return {"text/plain": {"schema": {"type": "string"}}}
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name.replace('#', '_')}"}}}


@functools.cache
def _schemas() -> dict[str, Any]:
    """Return every schema of a message by its name: `FILE`, or `FILE_PART` for a definition in a file."""
    found: dict[str, Any] = {}
    for file in _FILES:
        whole = schema(file)
        found[file] = _moved(
            {key: value for key, value in whole.items() if key not in ("$schema", "$id", "$defs")}, file
        )
        for part, value in whole["$defs"].items():
            found[f"{file}_{part}"] = _moved(value, file)
    whole = _inlined(schema(_INLINED))
    return found | {_INLINED: {key: value for key, value in whole.items() if key not in ("$schema", "$id")}}


def _inlined(value: Any) -> Any:
    """Return a schema with the parts of other files in the place of the references to them."""
    if isinstance(value, list):
        return [_inlined(item) for item in value]
    if not isinstance(value, dict):
        return value
    file, _, pointer = value.get("$ref", "").partition("#")
    own = {key: _inlined(item) for key, item in value.items() if key != "$ref"}
    if not file:
        return own
    part = functools.reduce(lambda whole, key: whole[key], pointer.split("/")[1:], schema(_name(file)))
    return {key: item for key, item in _inlined(part).items() if key not in ("$schema", "$id")} | own


def _name(file: str) -> str:
    return file.removesuffix(".schema.json")


def _moved(value: Any, file: str) -> Any:
    """Return a schema with its references changed to their places in this document."""
    if isinstance(value, list):
        return [_moved(item, file) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _pointer(item, file) if key == "$ref" else _moved(item, file) for key, item in value.items()}


def _pointer(reference: str, file: str) -> str:
    if _name(reference) == _INLINED:
        return f"#/components/schemas/{_INLINED}"
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        raise ValueError(f"{reference} in {file} does not refer to a definition")
    return f"#/components/schemas/{match[1] or file}_{match[2]}"
