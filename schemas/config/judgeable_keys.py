"""Keys of which some have an unusable value, so that one wrong value does not hide the problems of the others.

A rule that reads the value of such a key ends there. The problems that it has found so far are valid: they come from
other keys. That the key is set is known all the same, and so are the right entries of a list.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

KeyPath = tuple[str | int, ...]

_T = TypeVar("_T")

NOTHING: frozenset[KeyPath] = frozenset()
"""The wrong paths of a value without known problems."""

MERGE_KEY = "<<"
"""Merges keys from another place of a YAML file. Skipjack does not read it, so each absent key may come from it."""


class UnknownValueError(Exception):
    """A rule has read a key whose value is wrong or could not be parsed."""


class WrongValue(NamedTuple):
    """A wrong value: whether it is there and not empty, and its right entries by place if it is a list with others."""

    is_set: bool = False
    entries: Mapping[int, Any] | None = None


class JudgeableKeys(dict[str, Any]):
    """A dict of the keys whose values can be judged; reading another one's value raises UnknownValueError.

    `wrong` has the others. With `partial`, every key that is absent here is one. Iteration yields the known keys.
    """

    def __init__(self, values: Mapping[str, Any], wrong: Mapping[str, WrongValue], *, partial: bool = False) -> None:
        super().__init__(values)
        self.wrong = wrong
        self.partial = partial

    def __contains__(self, key: object) -> bool:
        if super().__contains__(key) or (key in self.wrong and self.wrong[str(key)].is_set):
            return True
        if self.partial or key in self.wrong:
            raise UnknownValueError(key)
        return False

    def __getitem__(self, key: str) -> Any:
        if key in self.wrong:
            raise UnknownValueError(key)
        if key in self:
            return super().__getitem__(key)
        raise KeyError(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or the default if the key is absent."""
        if key not in self:
            return default
        return self[key]


def keys_at(value: Any, wrong: frozenset[KeyPath], base: Sequence[str | int] = ()) -> dict[str, Any]:
    """Return the keys below `base` in a value whose paths in `wrong` cannot be judged; an empty dict if there are none.

    A key is unknown if anything below it is. The mapping `worker` is an exception: a problem of one worker does not
    concern the others.
    """
    found: Any = value
    for step in base:
        found = found.get(step) if isinstance(found, dict) else None
    plain: dict[str, Any] = found if isinstance(found, dict) else {}
    if not wrong:
        return plain
    start = tuple(base)
    if any(start[: len(path)] == path for path in wrong):
        return JudgeableKeys({}, {}, partial=True)
    below = [path[len(start) :] for path in wrong if path[: len(start)] == start]
    if not below:
        return plain
    bad: dict[str, list[KeyPath]] = {}
    for path in below:
        if not _concerns_one_worker(path, plain):
            bad.setdefault(str(path[0]), []).append(path[1:])
    values = {key: value for key, value in plain.items() if key not in bad}
    wrong_values = {key: _wrong_value(plain.get(key), paths) for key, paths in bad.items()}
    return JudgeableKeys(values, wrong_values, partial=MERGE_KEY in bad)


def _wrong_value(value: Any, paths: Sequence[KeyPath]) -> WrongValue:
    """Return what is known of a value that is wrong at these paths."""
    is_set = value is not None and value is not False and value not in ("", [], {})
    if not isinstance(value, list) or () in paths:
        return WrongValue(is_set)
    bad = {path[0] for path in paths}
    return WrongValue(is_set, {place: entry for place, entry in enumerate(value) if place not in bad})


def _concerns_one_worker(path: KeyPath, plain: Mapping[str, Any]) -> bool:
    return path[0] == "worker" and len(path) > 1 and isinstance(plain.get("worker"), dict)


def is_known(keys: dict[str, Any], key: str) -> bool:
    """Return whether a key can be read: its value can be judged, or it is absent."""
    try:
        keys.get(key)
    except UnknownValueError:
        return False
    return True


def is_set(keys: dict[str, Any], key: str) -> bool:
    """Return whether a key has a value, right or wrong, that is neither `false` nor empty."""
    if isinstance(keys, JudgeableKeys) and key in keys.wrong:
        return keys.wrong[key].is_set
    return bool(keys.get(key))


def entries(keys: dict[str, Any], key: str) -> Iterable[tuple[int, Any]]:
    """Return the entries of a list that can be judged, each with its place in the list."""
    if isinstance(keys, JudgeableKeys) and key in keys.wrong and (known := keys.wrong[key].entries) is not None:
        return known.items()
    return enumerate(keys.get(key, ()))


def judged(rule: Iterable[_T]) -> Iterator[_T]:
    """Yield the problems that a rule finds until it reads an unknown value."""
    try:  # contextlib.suppress would cost a third of what the rules of a mirror take
        yield from rule
    except UnknownValueError:
        return
