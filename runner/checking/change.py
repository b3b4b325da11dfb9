"""Check what a change can break: what it touches, and what that is in conflict with.

The result is that of a check of the whole folder, without what the change has nothing to do with. It has what is wrong
with the mirrors that the change affects and with the files that they depend on, and what was not wrong before.
"""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from runner.checking import compared_values, judging
from runner.checking.compared_values import NOTHING, ComparedKeys
from runner.checking.findings import CheckResult
from runner.checking.judging import CheckRules
from runner.checking.related_files import Related, inherited_by, name_of
from runner.checking.work_tree import WorkTree
from schemas.config import sources
from schemas.config.catalogue import DEFAULTS, SITE, WORKERS
from schemas.config.sources import FRAGMENTS, POLICIES, SourceFile
from schemas.config.yaml_file import parse
from schemas.problems import Problem, printable

_OF_ALL = (FRAGMENTS, POLICIES)
"""Folders whose files apply to all mirrors, as the site's and the workers' file do."""

_FEW, _MANY = 4, 100
"""Where many files, and one in so few, are affected, all are read: to find out what they touch takes as long."""

_MOST_NAMES = 12
"""Names that git finds faster than we do in a list of all files."""


class _TrackedDefinitions:
    """The definitions in the work tree, asked from git only when they are needed."""

    def __init__(self, tree: WorkTree, untracked: Iterable[str]) -> None:
        self._tree = tree
        self._untracked = [*filter(sources.is_config, untracked)]

    @functools.cached_property
    def all(self) -> list[str]:
        """All definitions, some of which may be removed."""
        return [*_definitions(self._tree.tracked()), *self._untracked]

    def named(self, names: Iterable[str]) -> list[str]:
        """Return the files with names in lower case, with any ending and in any folder."""
        wanted = frozenset(names)
        if not wanted:
            return []
        tracked = self._tree.tracked_as(wanted) if len(wanted) <= _MOST_NAMES else self.all
        return [path for path in (*tracked, *self._untracked) if name_of(path) in wanted and sources.is_config(path)]

    def below(self, folder: str) -> list[str]:
        """Return all definitions below a folder that ends with a slash, or is empty for all."""
        return [path for path in self.all if path.startswith(folder)]


class _ChangedFiles(NamedTuple):
    """All files that differ from the base, with their content there, and what is beside them.

    `lines` are those of definitions with a key that is compared.
    """

    files: _TrackedDefinitions
    before: dict[str, SourceFile | None]
    lines: dict[str, list[bytes]]

    @property
    def is_about_all(self) -> bool:
        """Whether a file has changed that applies to all mirrors."""
        return any(path in (SITE, WORKERS) or path.startswith(_OF_ALL) for path in self.before)

    def affected(self) -> set[str]:
        """Return the changed definitions, and those that inherit from one or name a changed pattern file."""
        named = sources.pattern_files_of(SourceFile(path, b"\n".join(text)) for path, text in self.lines.items())
        found = {path for path in self.before if sources.is_config(path)}
        found.update(path for pattern in named.keys() & self.before.keys() for path in named[pattern])
        folders = [path.removesuffix(DEFAULTS) for path in found if path.rpartition("/")[2] == DEFAULTS]
        return found.union(*map(self.files.below, folders))


def judged(directory: Path, tree: WorkTree, judge: CheckRules) -> CheckResult:
    """Return what is wrong with what the change affects, and what it breaks elsewhere."""
    change = _read(tree)
    if change.is_about_all:
        return judging.judged_folder(directory, judge)
    affected = change.affected()
    if len(affected) > _MANY and len(affected) * _FEW > len(change.files.all):
        files = sources.read_directory(directory)
    else:
        files = _related(directory, change, affected)

    def beside() -> list[str]:
        return [path for path in change.files.all if os.path.lexists(directory / path)]

    def found_in(files: Sequence[SourceFile]) -> CheckResult:
        return judging.judged(files, judge, beside)

    shown = _shown(affected | change.before.keys(), files)
    return _restricted(found_in(files), shown, lambda: found_in(_at_base(directory, change, files)))


def _read(tree: WorkTree) -> _ChangedFiles:
    changed, untracked = tree.changed(), tree.untracked()
    stored = [path for path, base in changed.items() if base.blob and _is_read(path)]
    contents = dict(zip(stored, tree.contents([changed[path].blob for path in stored]), strict=True))
    before: dict[str, SourceFile | None] = dict.fromkeys((*untracked, *changed))
    for path, data in contents.items():
        if data is not None:
            data = None if changed[path].is_link else data
            before[path] = SourceFile(printable(path), data, has_patterns=not sources.is_config(path))
    lines: dict[str, list[bytes]] = {}
    for line in tree.lines_with(compared_values.WORDS, compared_values.AFTER):
        lines.setdefault(line.path, []).append(line.text)
    return _ChangedFiles(_TrackedDefinitions(tree, untracked), before, lines)


def _is_read(path: str) -> bool:
    return sources.is_config(path) or sources.is_pattern_file(path)


def _definitions(paths: list[str]) -> list[str]:
    # Nearly every file is one, which this sees in a tenth of the time.
    found = [path for path in paths if path[-4:] == ".yml" and "/." not in path and path[0] != "."]
    if len(found) < len(paths):
        found += filter(sources.is_config, {*paths}.difference(found))
    return [path for path in found if not path.startswith(_OF_ALL)]


def _related(directory: Path, change: _ChangedFiles, affected: set[str]) -> tuple[SourceFile, ...]:
    """Read the affected definitions, those that they can be in conflict with, and what each inherits."""
    now = sources.read_files(directory, affected)
    says = _said_by(each for each in (*now, *change.before.values()) if each is not None)
    related = Related(change.files, dict(_said_elsewhere(directory, change, affected))).to(affected, says)
    inherited = {above for path in related for above in inherited_by(path)}
    definitions = sources.read_files(directory, sorted({*related, *inherited} - {WORKERS}))
    of_all = sources.read_files(directory, [SITE, WORKERS, *_in(directory, FRAGMENTS)])
    policies = sources.read_files(directory, _policies(directory, definitions))
    found = (*definitions, *of_all, *policies)
    doubtful = (
        SourceFile(printable(path), None, passed_over=True)
        for path in change.before
        if sources.is_passed_over(path) and os.path.lexists(directory / path)
    )
    return tuple(sorted([*found, *doubtful], key=lambda file: file.path))


def _in(directory: Path, folder: str) -> list[str]:
    """Return the files in a folder that applies to all mirrors."""
    names = os.listdir(directory / folder) if (directory / folder).is_dir() else []
    return [*filter(sources.is_config, (f"{folder}{name}" for name in names))]


def _policies(directory: Path, definitions: Iterable[SourceFile]) -> list[str]:
    """Return the policies of the workers that some definitions can name; escapes can stand for any name."""
    text = b"\n".join(file.data or b"" for file in definitions)
    names = {path: path[len(POLICIES) :].removesuffix(".yml") for path in _in(directory, POLICIES)}
    return [path for path, name in names.items() if b"\\" in text or name.encode("utf-8", "replace") in text]


def _said_by(files: Iterable[SourceFile]) -> ComparedKeys:
    says = NOTHING
    for file in files:
        if file.data is not None and not file.has_patterns:
            says |= compared_values.of_value(parse(file.data, file.path).value)
    return says


def _said_elsewhere(directory: Path, change: _ChangedFiles, affected: set[str]) -> Iterator[tuple[str, ComparedKeys]]:
    """Yield what each unaffected definition says, from its lines or, where these are not enough, from the file."""
    for path, lines in change.lines.items():
        if path not in affected and sources.is_config(path):
            says = compared_values.of_lines(lines)
            if says is None:
                says = _said_by(sources.read_files(directory, [path]))
            if says != NOTHING:
                yield path, says


def _shown(paths: Iterable[str], files: Sequence[SourceFile]) -> set[str]:
    """Return the files whose problems are reported: the affected ones, and what these inherit or name."""
    found = {printable(path) for path in paths}
    found |= {SITE, WORKERS, *(above for path in found for above in inherited_by(path))}
    patterns = sources.pattern_files_of(file for file in files if not file.has_patterns)
    return found | {path for path, named_by in patterns.items() if not named_by.isdisjoint(found)}


def _at_base(directory: Path, change: _ChangedFiles, files: Iterable[SourceFile]) -> tuple[SourceFile, ...]:
    """Return files as they were before the change."""
    changed = {printable(path): file for path, file in change.before.items()}
    own = [file for file in files if file.path not in changed and not file.has_patterns]
    own += [file for file in changed.values() if file is not None and not file.has_patterns]

    def pattern_file(path: str) -> SourceFile | None:
        return changed[path] if path in changed else sources.read_pattern_file(directory, path)

    return sources.with_pattern_files(own, pattern_file)


def _restricted(result: CheckResult, shown: set[str], before: Callable[[], CheckResult]) -> CheckResult:
    """Return what was found in some files, and what elsewhere was not wrong `before`."""
    everything = (*result.problems, *result.warnings, *result.moves)
    old: set[tuple[str, str]] = set()
    if any(each.file not in shown for each in everything):
        found = before()
        old = {(each.file, each.what) for each in (*found.problems, *found.warnings, *found.moves)}

    def restricted(found: Iterable[Problem]) -> tuple[Problem, ...]:
        return tuple(each for each in found if each.file in shown or (each.file, each.what) not in old)

    return CheckResult(
        {name: file for name, file in result.files.items() if file in shown},
        restricted(result.problems),
        restricted(result.warnings),
        restricted(result.moves),
        tuple(mirror for mirror in result.mirrors if result.files[mirror.name] in shown),
        "changed ",
    )
