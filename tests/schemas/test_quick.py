"""The quick check and jsonschema agree on what is valid."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.config import quick
from schemas.config.schema_set import fits, schema, validator
from schemas.config.yaml_file import parse

from .test_report import ENVELOPE, encoded

KINDS = ("mirror", "defaults", "site", "workers", "runner", "policy", "manager")
ODDITIES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**63, 1.5, 2.0, 1e12, float("inf"), "", "x" * 2000,
    "a b\n", "1h", "1h\n", "w1\n", "-x", [], [None], ["a", "a"],
    ["a", 1], [1, True], [{}, {}], {}, {"a": 1}, {"a b": {}}, {"w1": {"retry": 0}}, {"w1": {"retry": 1}},
    {"w1": {"x": 1}},
)  # fmt: skip


def examples(name: str) -> dict[str, Any]:
    """A valid document with each key that the schema has an example for; for reports, an encoded envelope."""
    if name == "report":
        return encoded(ENVELOPE)
    return {key: found for key, part in schema(name)["properties"].items() if (found := _example(part)) is not None}


def _example(part: dict[str, Any]) -> Any:
    if "$ref" in part:
        return _example(schema("mirror")["properties"][part["$ref"].rpartition("/")[2]])
    if "properties" in part:
        found = {key: value for key, below in part["properties"].items() if (value := _example(below)) is not None}
        return dict(list(found.items())[: part.get("maxProperties")])
    return next(iter(part.get("examples", ())), None)


def variants(node: Any, beside: dict[str, Any] | None = None) -> Iterator[Any]:
    """Yield the document with each value replaced by oddities, with odd keys, and without each of its keys.

    `beside` are the keys that a replaced value stands beside, if not all: jsonschema takes its time for each key.
    """
    yield from ODDITIES
    if isinstance(node, dict):
        for key, value in node.items():
            yield from ((node if beside is None else beside) | {key: changed} for changed in variants(value))
            yield {other: copy.copy(node[other]) for other in node if other != key}
        yield from (node | {odd: "x"} for odd in ("no key", "a b", ""))
    elif isinstance(node, list):
        yield from ([changed, *node[1:]] for changed in variants(node[0] if node else None))
        yield node + node


@pytest.mark.parametrize("name", [*KINDS, "report"])
def test_it_agrees_with_jsonschema(name: str) -> None:
    strict, document = validator(name), examples(name)
    required = {key: document[key] for key in schema(name).get("required", ())}
    for each in (document, required):
        assert fits(name, each), "from an invalid document all variants would be invalid"
    for variant in variants(document, required):
        assert fits(name, variant) == strict.is_valid(variant), variant


def test_it_accepts_the_files_of_the_example_repository() -> None:
    for file in sorted((Path(__file__).parents[2] / "mirrors").rglob("*.yml")):
        kind = {"_site": "site", "_workers": "workers", "_defaults": "defaults"}.get(file.stem, "mirror")
        assert fits(kind, parse(file.read_bytes(), file.name).value), file


def test_it_refuses_to_compile_an_unknown_keyword() -> None:
    with pytest.raises(KeyError, match="multipleOf"):
        quick.compile_schema({"properties": {"a": {"multipleOf": 2}}})
