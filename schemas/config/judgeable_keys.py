"""Keys of which some have an unusable value, so that one wrong value does not hide the problems of the others.

A rule that reads such a key ends there. The problems that it has found so far are valid: they come from other keys.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

KeyPath = tuple[str | int, ...]

_T = TypeVar("_T")

NOTHING: frozenset[KeyPath] = frozenset()
"""The wrong paths of a value without known problems."""

MERGE_KEY = "<<"
"""Merges keys from another place of a YAML file. Skipjack does not read it, so each absent key may come from it."""


class UnknownValueError(Exception):
    """A rule has read a key whose value is wrong or could not be parsed."""


class JudgeableKeys(dict[str, Any]):
    """A dict of the keys whose values can be judged; reading one of the others raises UnknownValueError.

    `wrong` names the others. With `partial`, every key that is absent here is one. Iteration yields the known keys.
    """

    def __init__(self, values: Mapping[str, Any], wrong: Iterable[str], *, partial: bool = False) -> None:
        super().__init__(values)
        self.wrong = frozenset(wrong)
        self.partial = partial

    def __contains__(self, key: object) -> bool:
        if super().__contains__(key):
            return True
        if self.partial or key in self.wrong:
            raise UnknownValueError(key)
        return False

    def __getitem__(self, key: str) -> Any:
        if key in self:
            return super().__getitem__(key)
        raise KeyError(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or the default if the key is absent."""
        return super().__getitem__(key) if key in self else default


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
        return JudgeableKeys({}, (), partial=True)
    below = [path[len(start) :] for path in wrong if path[: len(start)] == start]
    if not below:
        return plain
    bad = {path[0] for path in below if not _concerns_one_worker(path, plain)}
    values = {key: value for key, value in plain.items() if key not in bad}
    return JudgeableKeys(values, map(str, bad), partial=MERGE_KEY in bad)


def _concerns_one_worker(path: KeyPath, plain: Mapping[str, Any]) -> bool:
    return path[0] == "worker" and len(path) > 1 and isinstance(plain.get("worker"), dict)


def is_known(keys: dict[str, Any], key: str) -> bool:
    """Return whether a key can be read: its value can be judged, or it is absent."""
    try:
        # `in` raises the error for an unknown value; whether the key is there does not matter.
        return key in keys or True
    except UnknownValueError:
        return False


def judged(rule: Iterable[_T]) -> Iterator[_T]:
    """Yield the problems that a rule finds until it reads an unknown value."""
    try:  # contextlib.suppress would cost a third of what the rules of a mirror take
        yield from rule
    except UnknownValueError:
        return
