"""Judge the files of a config repository: everything that is wrong with them, and what is valid but doubtful."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from runner.authoring import editor_files
from runner.checking.findings import HINT, IGNORED_FILE, RENAME, CheckResult
from runner.checking.key_places import place_of_named_key
from schemas.config import catalogue, cross_hints, hints, rename_rules, sources
from schemas.config.catalogue import Catalogue
from schemas.config.schema_set import SchemaSet
from schemas.config.sources import SourceFile
from schemas.errors import SkipjackError
from schemas.problems import PLUGIN_SCHEMA, InvalidConfigError, Problem, shown
from schemas.records import Mirror

if TYPE_CHECKING:  # few repositories have exported policies
    from schemas.config.exported_policy import ExportedPolicy

FileContents = Mapping[str, bytes | None]
"""The content of each file by its path; None for a link or a file that is not read."""


class CheckRules(NamedTuple):
    """What files are judged by: the plug-ins of this machine, and policies that replace those of the repository."""

    installed: SchemaSet
    policies: "Mapping[str, ExportedPolicy]" = MappingProxyType({})


def judged_folder(directory: Path, judge: CheckRules) -> CheckResult:
    """Return what is wrong or doubtful in a folder, as every worker with the installed plug-ins would see it.

    The schemas for editors are judged as well, although no worker needs them.
    """
    files = sources.read_directory(directory)
    result = judged(files, judge)
    return result._replace(warnings=(*result.warnings, *_of_editors(directory, files)))


def judged(files: Sequence[SourceFile], judge: CheckRules, beside: Callable[[], Iterable[str]] = tuple) -> CheckResult:
    """Return what is wrong or doubtful in these files; `beside` returns paths of files that messages may name."""
    try:
        found = catalogue.load(files, judge.installed, beside)
    except InvalidConfigError as refused:
        return CheckResult({}, refused.problems)
    contents = {file.path: file.data for file in files}
    policies = _policies(found, judge.policies)
    denied = _denials(found, policies, contents)
    warnings = tuple(_warnings(found, policies, contents))
    moves = tuple(_of_mirrors(found, contents, rename_rules.moves, RENAME, "formerly"))
    allowed = {name: file for name, file in found.files.items() if file not in {each.file for each in denied}}
    mirrors = tuple(mirror for mirror in found.mirrors if mirror.name in allowed)
    return CheckResult(allowed, tuple(sorted((*found.problems, *denied))), warnings, moves, mirrors)


def _policies(found: Catalogue, given: "Mapping[str, ExportedPolicy]") -> "dict[str, ExportedPolicy]":
    """Return the valid policies of the repository, with the given ones in the place of those of the same workers."""
    if unknown := sorted(given.keys() - found.workers.keys()):
        what = f"the exported policy is that of the worker `{shown(unknown[0])}`, which is not in `_workers.yml`."
        raise SkipjackError(what, "Name the policy of one of its workers with `--policy`.")
    return {worker: policy for worker, policy in {**found.policies, **given}.items() if policy is not None}


def _denials(found: Catalogue, policies: "Mapping[str, ExportedPolicy]", contents: FileContents) -> list[Problem]:
    if not policies:
        return []
    from runner.checking import verdicts  # it loads all rules of policies, which few repositories need

    return list(dict.fromkeys(verdicts.denials(found.mirrors, policies, found.files, contents)))


def _of_editors(directory: Path, files: Sequence[SourceFile]) -> Iterator[Problem]:
    for line in editor_files.warnings(str(directory), files):  # each begins with paths
        yield Problem(line.replace(",", " ").partition(" ")[0], 1, 1, line, "", HINT)


def _warnings(found: Catalogue, policies: "Mapping[str, ExportedPolicy]", contents: FileContents) -> Iterator[Problem]:
    for line in found.warnings:  # each begins with the path of a schema
        yield Problem(line.partition(" ")[0], 1, 1, line, "", PLUGIN_SCHEMA)
    for path, line in zip(found.passed_over, hints.of_files(found.passed_over), strict=True):
        yield Problem(path, 1, 1, line, "", IGNORED_FILE)
    for doubt in found.doubts:
        yield doubt._replace(what=str(doubt), todo="")
    yield from _of_mirrors(found, contents, hints.of_mirrors, HINT)
    roots = {worker: policy.settings.mirror_root for worker, policy in policies.items()}
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
