"""A row that holds what cannot be read: told by its name, and no reason to be silent about all the others."""

import logging
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

from sitegen.storage.database import StoreError

T = TypeVar("T")
R = TypeVar("R", bound=tuple[Any, ...])

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a damaged text may raise."""

_log = logging.getLogger(__name__)


class Damaged(StoreError):  # noqa: N818 - it is what happened to the row
    """One row cannot be read; the database can."""

    def __init__(self, what: str) -> None:
        super().__init__(
            what,
            "`skipjack-manager check` names all rows like it; a worker's next report mends what it tells of, a backup "
            "the rest.",
        )
        self.reason = self.public = what


def read(decode: Callable[[Any], T], text: Any, row: str, column: str) -> T:
    """Decode the text of a column; Damaged with the row's table and key when that cannot be done."""
    try:
        return decode(text)
    except UNREADABLE as error:
        raise Damaged(f"{row}: `{column}` cannot be read: {type(error).__name__}: {error}") from error


def sound(made: Iterable[Callable[[], T]]) -> Iterator[T]:
    """What can be read; the rest goes to the log."""
    for make in made:
        try:
            yield make()
        except Damaged as error:
            _log.error("%s", error)


def checked(record: R) -> R:
    """The record itself; TypeError when a value is of a kind that its field cannot have."""
    for name, value, kinds in zip(_fields(type(record)), record, _kinds(type(record)), strict=True):
        if type(value) not in kinds and not (int in kinds and type(value) is float and value.is_integer()):
            raise TypeError(f"{name} is {value!r}"[:100])
    return record


def _fields(kind: Any) -> tuple[str, ...]:
    names: tuple[str, ...] = kind._fields
    return names


@cache
def _kinds(kind: Any) -> tuple[tuple[type, ...], ...]:
    """For each field the types of its values; JSON writes whole numbers of either kind alike."""
    hints = get_type_hints(kind)
    found = [get_args(hints[name]) or (hints[name],) for name in _fields(kind)]
    return tuple((*each, int) if float in each else each for each in found)
