"""Write plain values as readable YAML that all YAML parsers read alike."""

import re
from collections.abc import Mapping
from typing import Any

_PLAIN = re.compile(r"(?:--?)?[A-Za-z/](?:[A-Za-z0-9_./@+=*~,%-]|:(?=[A-Za-z0-9/])| (?=[A-Za-z0-9/_-]))*")
# The only text that may begin with a digit without quotes: a parser could take others for a number, a date or a time.
_AMOUNT = re.compile(r"[0-9]+(?:[smhdw]|[KMG]?i?B)")
# YAML 1.1 reads these as booleans and null.
_WORDS = re.compile(r"y|n|yes|no|on|off|true|false|null", re.I)
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")


def block(value: Mapping[str, Any], indent: str = "", above: Mapping[str, str] | None = None) -> str:
    """Return a mapping of strings, numbers, booleans, lists of these and mappings as YAML, one key to a line.

    `above` has whole lines to write above keys, such as comments.
    """
    above = above or {}
    lines = (f"{above.get(key, '')}{indent}{_key(key)}:{_after(below, indent)}" for key, below in value.items())
    return "".join(lines)


def _after(value: Any, indent: str) -> str:
    if isinstance(value, Mapping) and value:
        return "\n" + block(value, indent + "  ")
    if isinstance(value, list | tuple):
        if all(isinstance(each, int) for each in value):
            return f" [{', '.join(map(scalar, value))}]\n"
        return "\n" + "".join(f"{indent}  - {item(each)}\n" for each in value)
    return f" {scalar(value)}\n"


def item(value: Any) -> str:
    """Return one item of a list on one line: a string, a number, or a mapping of strings and lists of strings."""
    if not isinstance(value, Mapping):
        return scalar(value)
    pairs = [f"{_key(key)}: {_in_line(below)}" for key, below in value.items()]
    return f"{{{', '.join(pairs)}}}"


def _in_line(value: Any) -> str:
    words = [scalar(each) for each in (value if isinstance(value, list) else [value])]
    words = [_quoted(each) if "," in each and each[0] not in "'\"" else each for each in words]
    return f"[{', '.join(words)}]" if isinstance(value, list) else words[0]


def scalar(value: str | int | bool | Mapping[str, Any]) -> str:
    """Return a value on one line; a mapping must be empty."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        return "{}"
    if _AMOUNT.fullmatch(value) or (_PLAIN.fullmatch(value) and not _WORDS.fullmatch(value)):
        return value
    return _quoted(value)


def _key(key: str) -> str:
    return key if _KEY.fullmatch(key) and not _WORDS.fullmatch(key) else _quoted(key)


def _quoted(text: str) -> str:
    """Return text in single quotes, or in double quotes if characters must be escaped."""
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(_escaped(each) for each in text) + '"'


def _escaped(character: str) -> str:
    if character in '\\"':
        return f"\\{character}"
    if character == "\n":
        return "\\n"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
