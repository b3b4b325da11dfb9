"""Judge the files of a config repository: everything that is wrong with them, and what is valid but doubtful."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

from runner.authoring import editor_files
from runner.checking.findings import HINT, IGNORED_FILE, RENAME, CheckResult
from runner.checking.key_places import place_of_named_key
from schemas.config import catalogue, cross_hints, hints, rename_rules, sources
from schemas.config.catalogue import Catalogue
from schemas.config.schema_set import SchemaSet
from schemas.config.sources import SourceFile
from schemas.problems import PLUGIN_SCHEMA, InvalidConfigError, Problem
from schemas.records import Mirror

FileContents = Mapping[str, bytes | None]
"""The content of each file by its path; None for a link or a file that is not read."""


def judged_folder(directory: Path, installed: SchemaSet) -> CheckResult:
    """Return what is wrong or doubtful in a folder, as every worker with the `installed` plug-ins would see it.

    The schemas for editors are judged as well, although no worker needs them.
    """
    files = sources.read_directory(directory)
    result = judged(files, installed)
    return result._replace(warnings=(*result.warnings, *_of_editors(directory, files)))


def judged(
    files: Sequence[SourceFile], installed: SchemaSet, beside: Callable[[], Iterable[str]] = tuple
) -> CheckResult:
    """Return what is wrong or doubtful in these files; `beside` returns paths of files that messages may name."""
    try:
        found = catalogue.load(files, installed, beside)
    except InvalidConfigError as refused:
        return CheckResult({}, refused.problems)
    contents = {file.path: file.data for file in files}
    warnings = tuple(_warnings(found, contents))
    moves = tuple(_of_mirrors(found, contents, rename_rules.moves, RENAME, "formerly"))
    return CheckResult(found.files, found.problems, warnings, moves, found.mirrors)


def _of_editors(directory: Path, files: Sequence[SourceFile]) -> Iterator[Problem]:
    for line in editor_files.warnings(str(directory), files):  # each begins with paths
        yield Problem(line.replace(",", " ").partition(" ")[0], 1, 1, line, "", HINT)


def _warnings(found: Catalogue, contents: FileContents) -> Iterator[Problem]:
    for line in found.warnings:  # each begins with the path of a schema
        yield Problem(line.partition(" ")[0], 1, 1, line, "", PLUGIN_SCHEMA)
    for path, line in zip(found.passed_over, hints.of_files(found.passed_over), strict=True):
        yield Problem(path, 1, 1, line, "", IGNORED_FILE)
    for doubt in found.doubts:
        yield doubt._replace(what=str(doubt), todo="")
    yield from _of_mirrors(found, contents, hints.of_mirrors, HINT)
    roots = {worker: policy.settings.mirror_root for worker, policy in found.policies.items() if policy}
    for line in cross_hints.of_mirrors(found.mirrors, found.site.url, roots):  # each begins with a name in backticks
        yield _placed(found.files[line.split("`", 2)[1]], contents, line, HINT)


def _of_mirrors(
    found: Catalogue, contents: FileContents, judge: Callable[[Sequence[Mirror]], list[str]], rule: str, key: str = ""
) -> Iterator[Problem]:
    """Yield each line about the mirrors once, in the file of the first one: at `key`, or at a key that it names."""
    seen: set[str] = set()
    for name, group in groupby(found.mirrors, lambda mirror: mirror.name):
        file = found.files[name]
        for line in judge(list(group)):
            if line not in seen:
                seen.add(line)
                yield _placed(file, contents, line, rule, key)


def _placed(file: str, contents: FileContents, line: str, rule: str, key: str = "") -> Problem:
    place = place_of_named_key(contents[file] or b"", f"{key} {line}")
    return Problem(file, place.line, place.column, line, "", rule)
