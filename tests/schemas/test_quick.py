"""The quick check never says yes where the validator says no, and says no to nothing that people write."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.config import quick
from schemas.config.strict import validator
from schemas.config.validation import fits, schema
from schemas.config.yaml_file import parse

KINDS = ("mirror", "defaults", "site", "workers", "runner", "policy", "manager")
ODDITIES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**63, 1.5, 2.0, "", "x" * 2000, "a b\n", "1h", "1h\n", "w1\n", "-x", [], [None], ["a", "a"],
    ["a", 1], [1, True], [{}, {}], {}, {"a": 1}, {"a b": {}}, {"w1": {"retry": 0}}, {"w1": {"retry": 1}},
    {"w1": {"x": 1}},
)  # fmt: skip


def examples(name: str) -> dict[str, Any]:
    """A document with each key that the schema has an example for."""
    return {key: found for key, part in schema(name)["properties"].items() if (found := _example(part)) is not None}


def _example(part: dict[str, Any]) -> Any:
    if "$ref" in part:
        return _example(schema("mirror")["properties"][part["$ref"].rpartition("/")[2]])
    if "properties" in part:
        return {key: found for key, below in part["properties"].items() if (found := _example(below)) is not None}
    return next(iter(part.get("examples", ())), None)


def variants(node: Any) -> Iterator[Any]:
    """The document with each of its values replaced by oddities, with odd keys, and without each of its keys."""
    yield from ODDITIES
    if isinstance(node, dict):
        for key, value in node.items():
            yield from (node | {key: changed} for changed in variants(value))
            yield {other: copy.copy(node[other]) for other in node if other != key}
        yield from (node | {odd: "x"} for odd in ("no key", "a b", ""))
    elif isinstance(node, list):
        yield from ([changed, *node[1:]] for changed in variants(node[0] if node else None))
        yield node + node


@pytest.mark.parametrize("name", KINDS)
def test_it_passes_what_is_valid_and_nothing_else(name: str) -> None:
    strict, valid = validator(name), 0
    for variant in variants(examples(name)):
        assert fits(name, variant) == strict.is_valid(variant), variant
        valid += fits(name, variant)
    assert valid


def test_it_passes_the_files_that_we_ship() -> None:
    for file in sorted((Path(__file__).parents[2] / "mirrors").rglob("*.yml")):
        kind = {"_site": "site", "_workers": "workers", "_defaults": "defaults"}.get(file.stem, "mirror")
        assert fits(kind, parse(file.read_bytes(), file.name).value), file


def test_it_knows_every_keyword_it_meets() -> None:
    with pytest.raises(KeyError, match="multipleOf"):
        quick.compile_schema({"properties": {"a": {"multipleOf": 2}}})
