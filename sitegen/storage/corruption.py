"""Handles rows whose content cannot be decoded: one is reported by its key, and the others are still read."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

from sitegen.storage.database import StoreError

T = TypeVar("T")
R = TypeVar("R", bound=tuple[Any, ...])

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""Exceptions that decoding a damaged text may raise."""

_log = logging.getLogger(__name__)


class Damaged(StoreError):  # noqa: N818 - it describes the row
    """One row cannot be decoded, but the database can be read."""

    def __init__(self, what: str) -> None:
        super().__init__(
            what,
            "Run `skipjack-manager check` to list all damaged rows. A worker's next report repairs its own; restore a "
            "backup for the rest.",
        )
        self.reason = self.public = what


def read(decode: Callable[[Any], T], text: Any, row: str, column: str) -> T:
    """Decode the text of a column; Damaged, with the row's table and key, if that fails."""
    try:
        return decode(text)
    except UNREADABLE as error:
        raise Damaged(f"{row}: `{column}` cannot be read: {type(error).__name__}: {error}") from error


def sound(made: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Yield what can be decoded, and log the rest."""
    for make in made:
        try:
            yield make()
        except Damaged as error:
            _log.error("%s", error)


def checked(record: R) -> R:
    """Return the record; TypeError if a value does not have the type of its field."""
    for name, value, kinds in zip(_fields(type(record)), record, _kinds(type(record)), strict=True):
        # Not isinstance, for which `true` is a number.
        if type(value) not in kinds and not (int in kinds and type(value) is float and value.is_integer()):
            raise TypeError(f"{name} is {value!r}"[:100])
    return record


def _fields(kind: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = kind._fields
    return names


@cache
def _kinds(kind: Any) -> tuple[tuple[type, ...], ...]:
    """Return the types of each field. JSON writes whole floats as integers, so `int` is accepted for `float`."""
    hints = get_type_hints(kind)
    found = [get_args(hints[name]) or (hints[name],) for name in _fields(kind)]
    return tuple((*each, int) if float in each else each for each in found)
