"""JSON that others wrote, from the network or from a file: parsed only after its size in memory is bounded.

Parsed JSON may take thirty times the memory of its text: `[],` is three bytes, and an empty list 64. So the values are
counted before any is made. Cheap to import.
"""

import json
import re
from itertools import islice
from typing import Any, NoReturn

_LATEST = 1e11
"""Seconds since 1970 UTC after which no time is: dates end there in the year 5138."""

_VALUE = re.compile(r'(?:[^",\[{]++|"(?:[^"\\]++|\\.)*+"?)*+(?:[,\[{]|\Z)', re.DOTALL)
"""What leads to the next value that is in no string, or to the end. It never goes back, so that the time grows with the
text."""


class TooManyValues(ValueError):  # noqa: N818 - it is what the text is, and reads so at every raise
    """The text has more values than its reader expects."""


def parse(data: bytes, most: int) -> Any:
    """Parse JSON in UTF-8 of at most about `most` values; ValueError for any other text, and for NaN and infinities.

    A list and an object count as one value, as does each item of them.
    """
    text = data.decode()
    if _count(text) > most and next(islice(_VALUE.finditer(text), most + 2, None), None) is not None:
        raise TooManyValues(f"it has more than {most} values")
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def moment(value: object) -> float:
    """Return a time in seconds since 1970 UTC; ValueError for any other value, and for a time without a date."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _LATEST:
        raise ValueError(f"{value!r} is not a time"[:100])
    return float(value)


def text(value: object) -> str:
    """Return a text that can be printed and sent; ValueError for any other value."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text"[:100])
    value.encode()
    return value


def _count(text: str) -> int:
    """Return at least the number of values: what stands in strings is counted as well."""
    return text.count(",") + text.count("[") + text.count("{")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)
