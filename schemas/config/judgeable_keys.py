"""Keys of which some have no value that can be judged, so that one wrong value hides no other one.

A rule that asks for such a key ends there. What it has found until then holds: it came from the other keys.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

Path = tuple[str | int, ...]

_T = TypeVar("_T")

NOTHING: frozenset[Path] = frozenset()
"""Of a value of which nothing is known to be wrong."""

MERGE_KEY = "<<"
"""Brings keys from elsewhere in YAML, which is not read here: whatever is absent beside it may have been meant."""


class UnknownValueError(Exception):
    """A key was asked for that is there, but whose value is wrong or could not be read."""


class JudgeableKeys(dict[str, Any]):
    """The keys whose values can be judged; asking for one of the others raises UnknownValueError.

    `wrong` names these. With `partial` they are all keys that are not in here. A loop goes over the known ones.
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
        """Return the value of a key, or the default if it is not there."""
        return super().__getitem__(key) if key in self else default


def keys_at(value: Any, wrong: frozenset[Path], base: Sequence[str | int] = ()) -> dict[str, Any]:
    """Return the keys below `base` in a value, in which the paths in `wrong` cannot be judged.

    A key is unknown when anything below it is, but for the mapping of workers: what is wrong of one of them
    says nothing of the others. An empty mapping stands for no value.
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


def _concerns_one_worker(path: Path, plain: Mapping[str, Any]) -> bool:
    return path[0] == "worker" and len(path) > 1 and isinstance(plain.get("worker"), dict)


def is_known(keys: dict[str, Any], key: str) -> bool:
    """Tell whether a key may be asked for: it has a value that can be judged, or is not there."""
    try:
        return key in keys or True
    except UnknownValueError:
        return False


def judged(rule: Iterable[_T]) -> Iterator[_T]:
    """Yield what a rule finds until it asks for a value that is not known."""
    try:  # contextlib.suppress would cost a third of what the rules of a mirror take
        yield from rule
    except UnknownValueError:
        return
