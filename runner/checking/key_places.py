"""Where does a mirror's file set the key that a message names?"""

import re
from typing import NamedTuple

_KEY = re.compile(rb"^([a-z][a-z0-9_]*)[ ]*:", re.MULTILINE)
"""A key at the top of a file, as nearly everyone writes it."""

_QUOTED = re.compile("`([^`]+)`")

_WORD = re.compile(r"[a-z][a-z0-9_]*")


class KeyPlace(NamedTuple):
    """A line and column, both from 1."""

    line: int = 1
    column: int = 1


def place_of_named_key(data: bytes, message: str) -> KeyPlace:
    """Return the place of the first key of the file that a message names; the top of the file if there is none.

    It only leads a reader to a line, so no parser is needed: a key that is inherited, or written in an unusual way, has
    the top of the file as its place.
    """
    there = {found[1].decode(): found.start() for found in reversed(list(_KEY.finditer(data)))}
    named = next((word for word in _WORD.findall(message) if word in there), None)
    return KeyPlace() if named is None else KeyPlace(data.count(b"\n", 0, there[named]) + 1)


def place_of_named_value(data: bytes, message: str) -> KeyPlace:
    """Return the place of the first key that a message names, else of the first value that it quotes."""
    place = place_of_named_key(data, message)
    if place != KeyPlace():
        return place
    found = (data.find(value.encode("utf-8", "surrogateescape")) for value in _QUOTED.findall(message))
    start = next((each for each in found if each >= 0), 0)
    return KeyPlace(data.count(b"\n", 0, start) + 1)
