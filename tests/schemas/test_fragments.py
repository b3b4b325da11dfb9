"""The schemas of plug-ins: what is accepted, and that a hostile one cannot do harm."""

import json
from typing import Any

import pytest

from schemas.config import fragment_checks, quick
from schemas.config.fragment_checks import BadFragment
from schemas.config.fragments import Fragment
from schemas.config.schema_set import SchemaSet, fits, schema, validator
from schemas.plugins import PROVIDER

from .test_quick import variants

DEPTH = {"type": "integer", "minimum": 1, "description": "Commits.", "examples": [1], "default": 5}
BRANCH = {"type": "string", "pattern": "^[a-z/]+$", "maxLength": 50}


def plain(properties: Any = None, **others: Any) -> dict[str, Any]:
    return {
        "title": "Git",
        "description": "Mirrors a git repository.",
        "type": "object",
        "additionalProperties": False,
        "properties": {"depth": DEPTH} if properties is None else properties,
        **others,
    }


def read(value: Any) -> Fragment:
    return fragment_checks.read(PROVIDER, "git", json.dumps(value).encode())


def a_key(**keywords: Any) -> dict[str, Any]:
    return plain({"x": {"description": "X.", **keywords}})


RICH = plain(
    {
        "depth": DEPTH,
        "branches": {
            "description": "Branches.",
            "type": "array",
            "items": {"$ref": "#/$defs/branch"},
            "uniqueItems": True,
            "maxItems": 20,
            "examples": [["main"]],
        },
        "every": {"description": "Time.", "type": "string", "pattern": "^[0-9]+h$", "examples": ["1h"]},
        "size": {"description": "Size.", "anyOf": [{"type": "integer"}, {"enum": ["all"]}], "examples": ["all"]},
        "labels": {
            "description": "Labels.",
            "type": "object",
            "propertyNames": {"pattern": "^[a-z]+$"},
            "additionalProperties": {"type": "string", "minLength": 1},
            "examples": [{"a": "b"}],
        },
        "part": {
            "description": "A part.",
            "type": "object",
            "properties": {"on": {"type": "boolean", "description": "On.", "examples": [True]}},
            "required": ["on"],
            "minProperties": 1,
        },
        "none": {"description": "Number or empty.", "type": ["number", "null"], "maximum": 2.5, "examples": [None]},
    },
    required=["branches"],
    **{"$defs": {"branch": BRANCH}, "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "x"},
    **{"x-mirror-keys": ["username", "password"]},
)


def test_a_fragment_is_read_without_references() -> None:
    found = read(RICH)
    assert found.mirror_keys == ("username", "password")
    assert found.defaults == {"depth": 5}
    assert found.schema["properties"]["branches"]["items"] == BRANCH
    assert "$ref" not in found.text and "$defs" not in found.text
    assert list(found.schema["properties"]) == list(RICH["properties"]), "the author's order is that of the documents"
    assert fragment_checks.checked(PROVIDER, "git", found.schema) == found, "a printed fragment can be used again"


def test_texts_with_a_pattern_have_a_limit_of_length() -> None:
    every = read(RICH).schema["properties"]["every"]
    assert every["maxLength"] == 100
    assert list(every).index("maxLength") < list(every).index("pattern"), "the length is checked first"


def test_a_plug_in_may_have_no_keys() -> None:
    found = fragment_checks.without_keys(PROVIDER, "git")
    assert found.schema["properties"] == {}
    assert found.schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ([], "not a JSON object"),
        (plain(title=""), "`title` is missing"),
        (plain(description=5), "not a text"),
        (plain(type="string"), '"type": "object"'),
        (plain(additionalProperties=True), '"additionalProperties": false'),
        (plain(additionalProperties={"type": "string"}), '"additionalProperties": false'),
        (plain(patternProperties={}), "`patternProperties` in `/` is not supported"),
        (plain({"x": {"type": "string"}}), "no `description`"),
        (plain({"a b": DEPTH}), "not a valid name"),
        (plain({"x" * 65: DEPTH}), "not a valid name"),
        (plain([]), "`/properties` is not a JSON object"),
        (plain({"x": []}), "`/properties/x` is not a JSON object"),
        (plain(required=["y"]), "`y`, which is not in `properties`"),
        (plain(required="depth"), "not a list of keys"),
        (plain(**{"x-mirror-keys": "username"}), "`x-mirror-keys` is not a list"),
        (plain(**{"$defs": []}), "`$defs` is not an object"),
        (a_key(), "neither `type` nor"),
        (a_key(type="date"), "name of a type"),
        (a_key(type=[]), "name of a type"),
        (a_key(type=[{}]), "name of a type"),
        (a_key(type="string", const="a"), "`const` in"),
        (a_key(type="string", oneOf=[]), "`oneOf` in"),
        (a_key(type="string", allOf=[]), "`allOf` in"),
        (a_key(type="string", **{"$defs": {}}), "`$defs` in"),
        (a_key(type="string", **{"$dynamicRef": "#"}), "`$dynamicRef` in"),
        (a_key(type="integer", minimum="1 or __import__('os')"), "not a number"),
        (a_key(type="integer", minimum=True), "not a number"),
        (a_key(type="integer", maximum=10**400), "not a number"),
        (a_key(type="string", minLength=-1), "whole number"),
        (a_key(type="string", maxLength=1.5), "whole number"),
        (a_key(type="string", maxLength=10**9, pattern="^a$"), "`maxLength` is greater"),
        (a_key(type="string", pattern="^(a+)+$"), "too many ways"),
        (a_key(type="string", pattern=5), "not a text"),
        (a_key(enum=[]), "a list of texts or of whole numbers"),
        (a_key(enum=[True]), "a list of texts or of whole numbers"),
        (a_key(enum=["a", 1]), "a list of texts or of whole numbers"),
        (a_key(enum=[{}]), "a list of texts or of whole numbers"),
        (a_key(enum=list(map(str, range(101)))), "a list of texts or of whole numbers"),
        (a_key(type="string", default=5), "does not allow"),
        (a_key(type="string", examples=["a", 5]), "does not allow"),
        (a_key(type="string", examples="a"), "not a list"),
        (a_key(type="array", uniqueItems=True), "`uniqueItems`"),
        (a_key(type="array", uniqueItems=True, items={"type": "object"}), "`uniqueItems`"),
        (a_key(type="object", properties={}, additionalProperties={"type": "string"}), "both `properties` and"),
        (a_key(type="object", additionalProperties=True), "not a JSON object"),
        (a_key(anyOf=[]), "1 to 4"),
        (a_key(anyOf=[{"type": "string"}] * 5), "1 to 4"),
        (a_key(anyOf=[{"anyOf": [{"type": "string"}]}]), "`anyOf` in an `anyOf`"),
        (a_key(**{"$ref": "#/$defs/none"}), "not in `$defs`"),
        (a_key(**{"$ref": "mirror.schema.json#/properties/env"}), "not in `$defs`"),
        (a_key(**{"$ref": "file:///etc/passwd"}), "not in `$defs`"),
        (a_key(**{"$ref": 5}), "not in `$defs`"),
        (plain({"x": {"$ref": "#/$defs/a", "type": "string"}}, **{"$defs": {"a": DEPTH}}), "beside `$ref`"),
        (plain(description="a\x1b[31m"), "cannot be printed"),
        (plain(description="a\nb"), "cannot be printed"),
        (plain(title="\ud800"), "cannot be printed"),
        (plain(title="x" * 1001), "not a text of up to 1000"),
    ],
)  # fmt: skip
def test_a_bad_fragment_is_rejected_with_the_reason(value: Any, reason: str) -> None:
    with pytest.raises(BadFragment) as raised:
        read(value)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"\xef\xbb\xbf{}", b"null", b"NaN", b'{"a": Infinity}', b"9" * 5000, b"[" * 60_000,
     b'{"a":' * 10_000, b" " * 65_537, b"[" + b"1," * 5000 + b"1]", b'{"default": 1e999}'],
)  # fmt: skip
def test_other_files_are_rejected(data: bytes) -> None:
    with pytest.raises(BadFragment):
        fragment_checks.read(PROVIDER, "git", data)


def test_a_reference_to_itself_ends() -> None:
    circle = {"type": "object", "properties": {"a": {"$ref": "#/$defs/circle"}}, "description": "C."}
    for definitions in ({"circle": circle}, {"circle": {"$ref": "#/$defs/circle"}}):
        with pytest.raises(BadFragment, match="more than"):
            read(plain({"x": {"$ref": "#/$defs/circle"}}, **{"$defs": definitions}))


def test_references_that_multiply_end() -> None:
    doubled = {
        f"d{number}": {
            "description": "D.",
            "type": "object",
            "properties": {key: {"$ref": f"#/$defs/d{number + 1}"} for key in ("a", "b", "c")},
        }
        for number in range(30)
    }
    with pytest.raises(BadFragment, match="more than"):
        read(plain({"x": {"$ref": "#/$defs/d0"}}, **{"$defs": doubled}))


def test_a_deep_or_wide_fragment_is_rejected() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _level in range(12):
        deep = {"type": "array", "items": deep}
    with pytest.raises(BadFragment, match="levels"):
        read(plain({"x": {**deep, "description": "X."}}))
    with pytest.raises(BadFragment, match="parts"):
        read(plain({f"k{number}": DEPTH for number in range(301)}))
    with pytest.raises(BadFragment, match="nested too deeply"):
        read(a_key(type="array", default=json.loads("[" * 30 + "]" * 30)))


def test_texts_of_a_fragment_never_become_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source of a compiled schema is made of fixed words and numbered names."""
    sources: list[str] = []

    def evaluated(source: str, names: dict[str, Any]) -> Any:
        sources.append(source)
        return eval(source, names)

    monkeypatch.setattr(quick, "eval", evaluated, raising=False)
    evil = "') or __import__('os').abort() or ('"
    keywords = {"type": "string", "minLength": 123456, "enum": [evil, "ok"]}
    test = quick.compile_schema({"properties": {evil: keywords, "b": {"maximum": 654321}}, "required": ["b"]})
    assert test({"b": 1, evil: evil}) is False
    for word in ("abort", "123456", "654321", "ok", '"'):
        assert not any(word in source for source in sources), word


SCHEMAS_WITH_GIT = SchemaSet((read(RICH),))
GIT = {
    "depth": 1, "branches": ["main"], "every": "1h", "size": "all", "labels": {"a": "b"}, "part": {"on": True},
    "none": None,
}  # fmt: skip


def test_the_quick_check_agrees_with_jsonschema_about_keys_of_plug_ins() -> None:
    strict = validator("mirror", SCHEMAS_WITH_GIT)
    assert fits("mirror", {"git": GIT}, SCHEMAS_WITH_GIT)
    for variant in variants({"git": GIT}):
        assert fits("mirror", variant, SCHEMAS_WITH_GIT) == strict.is_valid(variant), variant


def test_the_schemas_without_plug_ins_stay_as_they_are() -> None:
    assert "git" in schema("mirror", SCHEMAS_WITH_GIT)["properties"]
    assert "git" not in schema("mirror")["properties"]
    assert not fits("mirror", {"git": GIT})
    assert schema("site", SCHEMAS_WITH_GIT) == schema("site")
