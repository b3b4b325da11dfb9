"""Parse untrusted JSON, from the network or from a file, with a limit on its size in memory.

Parsed JSON may take thirty times the memory of its text: `[],` is three bytes, and an empty list 64. So the values are
counted before any is created. Cheap to import.
"""

import json
import re
from itertools import islice
from typing import Any, NoReturn

_LATEST = 1e11
"""Seconds since 1970 UTC that no time exceeds; dates reach the year 5138."""

_VALUE = re.compile(r'(?:[^",\[{]++|"(?:[^"\\]++|\\.)*+"?)*+(?:[,\[{]|\Z)', re.DOTALL)
"""The text up to the next value outside of strings, or to the end. It never backtracks, so the time is linear."""


class TooManyValues(ValueError):  # noqa: N818 - the name says it without `Error`
    """The text has more values than its reader accepts."""


def parse(data: bytes, most: int) -> Any:
    """Parse JSON in UTF-8 with about `most` values at most. Raises TooManyValues for more.

    Raises ValueError for other text, NaN and infinities. A list or an object counts as one value, and so does each of
    its items.
    """
    text = data.decode()
    # The quick count first. It is too high for texts with commas or brackets in strings, so only then all is scanned.
    if _count(text) > most and next(islice(_VALUE.finditer(text), most + 2, None), None) is not None:
        raise TooManyValues(f"it has more than {most} values")
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def moment(value: object) -> float:
    """Return a time in seconds since 1970 UTC. Raises ValueError for any other value, and for one without a date."""
    # For Python `True` is an int.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _LATEST:
        raise ValueError(f"{value!r} is not a time"[:100])
    return float(value)


def text(value: object) -> str:
    """Return a text that can be encoded. Raises ValueError for any other value."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text"[:100])
    value.encode()
    return value


def _count(text: str) -> int:
    """Return an upper bound of the number of values: it counts the contents of strings as well."""
    return text.count(",") + text.count("[") + text.count("{")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not valid JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
