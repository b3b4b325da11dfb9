"""Each `key: value` within lines of the pages is a key of one of the files, with a valid value."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from .pages import PAGES, ROOT, inline

FILES = ("mirror", "runner", "manager", "policy", "site", "workers")
PLUGINS = ROOT / "tests/plugins/skipjack-git/skipjack_git"
"""The plug-in of docs/plugins.md: each schema is that of the key with its name."""

LINES = [(page, code) for page in PAGES for code in dict.fromkeys(inline(page)) if re.match(r"[a-z_]+: \S", code)]


def schemas_of(key: str) -> Iterator[dict[str, Any]]:
    """The schema of each key of this name, at any depth of any file."""
    for name in FILES:
        whole = json.loads((ROOT / f"schemas/files/{name}.schema.json").read_text("utf-8"))
        for found in _below(whole, key):
            yield {"$defs": whole.get("$defs", {}), **found}
    own = PLUGINS / f"{key}.schema.json"
    if own.exists():
        yield json.loads(own.read_text("utf-8"))


def _below(part: object, key: str) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        found = part.get("properties", {}).get(key)
        yield from [found] if isinstance(found, dict) else []
        for each in part.values():
            yield from _below(each, key)
    elif isinstance(part, list):
        for each in part:
            yield from _below(each, key)


def problems(code: str) -> list[str]:
    """Why no schema takes a key and its value; empty when one does. Keys that a file needs beside it may be missing."""
    [(key, value)] = yaml.safe_load(code).items()
    found = [
        [error.message for error in _validator(each).iter_errors(value) if error.validator != "required"]
        for each in schemas_of(key)
    ]
    if not found:
        return [f"no file has the key `{key}`"]
    return min(found, key=len)


def _validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(("page", "code"), LINES)
def test_a_key_with_its_value_is_one_that_a_file_may_have(page: str, code: str) -> None:
    assert problems(code) == [], page


@pytest.mark.parametrize("code", ["intervall: 6h", "measure_size: never", "token: {credentials: token}"])
def test_a_wrong_key_in_a_line_is_found(code: str) -> None:
    assert problems(code)


def test_there_are_some() -> None:
    assert len(LINES) > 20
