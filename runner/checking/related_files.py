"""Which files can be in conflict with changed ones? Pure: it knows names and what files say, and reads nothing.

Like `schemas.config.cross_checks`, which finds the conflicts, this knows how names, directories, logs, snapshots and
`after` touch each other. It may name too many files, never too few.
"""

import re
from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple, Protocol

from runner.checking.compared_values import NOTHING, ComparedKeys
from schemas.config.sources import ending_of

WORKERS, DEFAULTS = "_workers.yml", "_defaults.yml"

_SLASHES = re.compile("/+")


def name_of(path: str) -> str:
    """Return the name that a file gives to a mirror, in lower case."""
    name = path[path.rfind("/") + 1 :]
    return name.removesuffix(ending_of(name)).lower()


def inherited_by(path: str) -> list[str]:
    """Return where a mirror inherits keys from, whether these files exist or not."""
    parts = path.split("/")[:-1]
    return [WORKERS, *("/".join([*parts[:depth], DEFAULTS]) for depth in range(len(parts) + 1))]


class _Reach(NamedTuple):
    """What another file must say to be in conflict with the changed ones."""

    names: frozenset[str]
    """The changed mirrors, now and before, their previous names, and the last parts of their paths."""
    after: frozenset[str]
    paths: frozenset[str]
    above: frozenset[str]
    """The absolute paths, and the same with all folders above them."""
    parts: frozenset[str]
    """All names and parts of paths: mirrors with these names can be in conflict whatever they say."""

    def meets(self, other: ComparedKeys) -> bool:
        """Return whether a file that says this can be in conflict with the changed ones."""
        if not (other.formerly.isdisjoint(self.names | self.after | self.parts) and other.after.isdisjoint(self.names)):
            return True
        return any(map(self._meets_path, other.paths | other.passwords))

    def _meets_path(self, text: str) -> bool:
        path = _plain(text)
        parts = path.split("/")
        if not self.names.isdisjoint(parts):
            return True
        if path[:1] != "/":
            return False
        return path in self.above or parts[-1] in self.parts or not self.paths.isdisjoint(_with_folders(path))


def _reach(names: Iterable[str], said: ComparedKeys) -> _Reach:
    paths = [*map(_plain, said.paths | said.passwords)]
    absolute = [path for path in paths if path[:1] == "/"]
    parts = {part for path in paths for part in path.split("/")} | said.formerly | said.after
    ends = {path[path.rfind("/") + 1 :] for path in absolute}
    above = {folder for path in absolute for folder in _with_folders(path)}
    return _Reach(
        frozenset({*names, *said.formerly, *ends}), said.after, frozenset(absolute), frozenset(above), frozenset(parts)
    )


def _plain(path: str) -> str:
    return _SLASHES.sub("/", path).rstrip("/")


def _with_folders(path: str) -> list[str]:
    """Return a path and all folders above it except `/`."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(2, len(parts) + 1)]


class DefinitionPaths(Protocol):
    """The definitions in a folder, which are asked for only when they are needed."""

    def named(self, names: Iterable[str]) -> Iterable[str]:
        """Return the files with names in lower case, with any ending and in any folder."""

    def below(self, folder: str) -> Iterable[str]:
        """Return all definitions below a folder that ends with a slash, or is empty for all."""


class Related:
    """Finds the unchanged mirrors that must be checked together with changed ones.

    `said` is what unchanged files say that is compared; files that say nothing are left out.
    """

    def __init__(self, files: DefinitionPaths, said: Mapping[str, ComparedKeys]) -> None:
        self._files = files
        self._said = said

    def to(self, changed: Iterable[str], changed_says: ComparedKeys, *, indirect: bool = False) -> set[str]:
        """Return the files of mirrors to read, with the changed ones. `changed` are their paths, now and before."""
        paths = set(changed)
        for path in paths.union(*map(inherited_by, paths)):
            changed_says |= self._said.get(path, NOTHING)
        own = {*map(name_of, paths)}
        reach = _reach(own, changed_says)
        named = set(self._files.named(reach.names | reach.parts))
        if twins := {path for path in named - paths if name_of(path) in own}:
            # A file becomes invalid, or valid again, when another one with its name comes or goes.
            return self.to(paths | twins, changed_says, indirect=indirect)
        found = paths | named
        for path, says in self._said.items():
            if reach.meets(says):
                found.update(self._having(path))
        self._add_named_by(found, reach.names | reach.parts)
        if not indirect and any(says.passwords for says in (changed_says, *self._said.values())):
            # Where a conflict ends, the mirrors become valid, and a policy protects their passwords from others.
            return self.to(found, changed_says, indirect=True)
        return found

    def _having(self, path: str) -> Iterable[str]:
        """Return the mirrors that have what a file says: its own, or all that inherit it."""
        folder, name = path[: path.rfind("/") + 1], path[path.rfind("/") + 1 :]
        return self._files.below(folder) if name in (DEFAULTS, WORKERS) else [path]

    def _add_named_by(self, found: set[str], asked: Set[str]) -> None:
        """Add what mirrors name in `after` and `formerly`, until nothing is new; `asked` are names that are done."""
        new = set(found)
        while names := {name for path in new for name in self._names_in(path)} - asked:
            asked |= names
            new = set(self._files.named(names)) - found
            found |= new

    def _names_in(self, path: str) -> set[str]:
        """Return what a mirror names, and its own name, which other files may have as well."""
        says = [self._said.get(each, NOTHING) for each in (path, *inherited_by(path))]
        return {name_of(path)}.union(*(each.after | each.formerly for each in says))
