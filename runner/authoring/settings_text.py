"""The text of a settings file with every key that there is: made from its JSON Schema, so that none is missing.

Keys with a value are set; all others are comments with an example, which are valid once their `#` is removed.
"""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from runner.importing.yaml_text import scalar
from schemas.config.schema_set import schema

_WIDTH = 100
_LONG = 8
"""Entries of a default that a comment can show."""

Section = dict[str, Any]


def commented(kind: str, head: str, values: Mapping[str, Any]) -> str:
    """Return the settings of a kind (`runner`, `manager` or `policy`) below the comment `head`.

    `values` has those that are set, as plain YAML values; mappings may have some of their keys.
    """
    return "\n".join([_comment(head, ""), *_entries(schema(kind), values, "")]) + "\n"


def _entries(part: Section, values: Mapping[str, Any], indent: str) -> Iterator[str]:
    required = part.get("required", ())
    for key, below in part["properties"].items():
        yield _entry(key, below, values.get(key), indent, is_required=key in required)


def _entry(key: str, part: Section, value: Any, indent: str, *, is_required: bool) -> str:
    """Return one key with its description, as a comment with an example if it has no value."""
    above = ("" if indent else "\n") + _comment(_described(part, is_required=is_required), indent)
    if value is not None:
        return f"{above}\n{_set(key, part, value, indent)}"
    example = _set(key, part, part["examples"][0], "")
    return "\n".join([above, *(f"{indent}#{line}" for line in example.splitlines())])


def _set(key: str, part: Section, value: Any, indent: str) -> str:
    """Return a key with its value; a mapping has all of its keys below it, unless it may have only one of them."""
    if "properties" in part and part.get("maxProperties") != 1:
        return "\n".join([f"{indent}{key}:", *_entries(part, value, f"{indent}  ")])
    return f"{indent}{key}: {_in_line(value)}"


def _described(part: Section, *, is_required: bool) -> str:
    text = str(part["description"])
    if is_required:
        return f"{text} Required."
    default = part.get("default")
    if default is None or "Default:" in text:
        return text
    if isinstance(default, list) and len(default) > _LONG:
        return f"{text} Default: {len(default)} entries."
    return f"{text} Default: `{_in_line(default)}`."


def _comment(text: str, indent: str) -> str:
    mark = f"{indent}# "
    lines = (textwrap.wrap(line, _WIDTH, break_long_words=False, break_on_hyphens=False) for line in text.splitlines())
    return "\n".join(f"{mark}{each}" for found in lines for each in found)


def _in_line(value: Any) -> str:
    """Return a value on one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_in_line, value))}]"
    if isinstance(value, dict) and value:
        return f"{{{', '.join(f'{key}: {_in_line(below)}' for key, below in value.items())}}}"
    text = scalar(value)
    is_flow_plain = isinstance(value, str) and text == value and any(each in value for each in ",[]{}:")
    return "'" + value.replace("'", "''") + "'" if is_flow_plain else text
