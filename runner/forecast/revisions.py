"""Which revisions does a plan compare, and what configuration do they have?

Both are read from the objects of a local git repository, `BASE` alone compares with the files of its work tree.
"""

from typing import NamedTuple

from runner.forecast.compare import NOTHING, ConfigState
from runner.forecast.forecast import RevisionLabel
from schemas.config import catalogue, sources
from schemas.config.catalogue import SITE, WORKERS
from schemas.config.schema_set import SchemaSet
from schemas.config.sources import SourceFile
from schemas.errors import SkipjackError
from schemas.git.git_objects import Commit
from schemas.git.local_repository import LocalRepository
from schemas.problems import InvalidConfigError, shown


class RevisionRange(NamedTuple):
    """What the command line asks for.

    `head` is None for the work tree. With `of_merge_base` the newest common commit of both is the base.
    """

    base: str
    head: str | None
    of_merge_base: bool


class BothSides(NamedTuple):
    """Both sides with their configuration, and facts about the comparison."""

    base: ConfigState
    head: ConfigState
    notes: tuple[str, ...]


def parsed(text: str) -> RevisionRange:
    """Return `BASE..HEAD`, `BASE...HEAD` or `BASE`, as git reads them; a missing name is `HEAD`.

    ValueError if it names no revision.
    """
    for dots in ("...", ".."):
        base, found, head = text.partition(dots)
        if found and (base or head):
            return RevisionRange(base or "HEAD", head or "HEAD", dots == "...")
    if not text.strip("."):
        raise ValueError("it names no revision")
    return RevisionRange(text, None, of_merge_base=False)


def read(repository: LocalRepository, wanted: RevisionRange, path: str | None, installed: SchemaSet) -> BothSides:
    """Return the configuration of both revisions. SkipjackError if one of them cannot be read or has none."""
    start = repository.commit(wanted.base)
    if wanted.head is None:
        return _against_work_tree(repository, wanted, start, path, installed)
    end = repository.commit(wanted.head)
    start, notes = _from(repository, wanted, start, end)
    before, after = (_folder(repository, each, path) for each in (start, end))
    folder = before if after is None else after
    if folder is None:
        raise _no_config(wanted.head)
    if None not in (before, after) and before != after:
        notes.append(
            f"The definitions move from `{before or '.'}` to `{after or '.'}`: set `repository.path` everywhere."
        )
    files = repository.files(end, folder)
    if files is None:
        raise SkipjackError(f"{shown(wanted.head)} has no folder `{shown(folder)}`.", "Correct `--path`.")
    base = _base(repository, wanted.base, start, folder if before is None else before, installed)
    head = _state(RevisionLabel(wanted.head, end.name), files, installed)
    return BothSides(base, head, tuple(notes))


def _from(repository: LocalRepository, wanted: RevisionRange, start: Commit, end: Commit) -> tuple[Commit, list[str]]:
    """Return the commit to compare with, and notes about the histories. SkipjackError if they are unrelated."""
    if wanted.of_merge_base:
        return repository.merge_base(start, end), []
    try:
        common = repository.merge_base(start, end)
    except SkipjackError:
        if not repository.is_shallow:
            raise
        return start, [f"This clone is shallow, so it is not known whether {_names(wanted)[1]} has all newer changes."]
    return start, [] if common.name == start.name else [_behind(wanted)]


def _against_work_tree(
    repository: LocalRepository, wanted: RevisionRange, start: Commit, path: str | None, installed: SchemaSet
) -> BothSides:
    if repository.root is None:
        raise SkipjackError("the repository has no work tree to compare with.", "Write `BASE..HEAD`.")
    folder = _folder(repository, start, path)
    place = repository.root / (folder or "")
    if not (place / SITE).exists():
        raise _no_config("the work tree")
    head = _state(RevisionLabel("the work tree", ""), sources.read_directory(place), installed)
    return BothSides(_base(repository, wanted.base, start, folder, installed), head, ())


def _base(
    repository: LocalRepository, name: str, commit: Commit, folder: str | None, installed: SchemaSet
) -> ConfigState:
    """Return the configuration of the base: nothing if it has none, as before the first pull request."""
    label = RevisionLabel(name, commit.name)
    files = (None if folder is None else repository.files(commit, folder)) or ()
    has_config = any(file.path in (SITE, WORKERS) for file in files)
    return _state(label, files, installed) if has_config else ConfigState(label, NOTHING, ())


def _state(label: RevisionLabel, files: tuple[SourceFile, ...], installed: SchemaSet) -> ConfigState:
    try:
        found = catalogue.load(files, installed)
    except InvalidConfigError as refused:
        return ConfigState(label, None, refused.problems)
    return ConfigState(label, found, found.problems)


def _folder(repository: LocalRepository, commit: Commit, path: str | None) -> str | None:
    """Return the folder of a commit that has `_site.yml`: the top one, or the only one; None if none has it.

    `path` is that of the command line, which is not checked here.
    """
    if path is not None:
        return path
    found = repository.folders_with(commit, SITE)
    if len(found) > 1 and found[0]:
        listed = ", ".join(f"`{shown(each)}`" for each in found[:5])
        what = f"{commit.name[:12]} has {SITE} in {len(found)} folders: {listed}."
        raise SkipjackError(what, "Name one with `--path FOLDER`.")
    return found[0] if found else None


def _no_config(where: str) -> SkipjackError:
    return SkipjackError(f"{shown(where)} has no {SITE}.", "Name the folder of the definitions with `--path FOLDER`.")


def _behind(wanted: RevisionRange) -> str:
    base, head = _names(wanted)
    return (
        f"{head} does not contain {base}, so newer changes of {base} look as if they were undone."
        f" Merge {base}, or compare `{base}...{head}`."
    )


def _names(wanted: RevisionRange) -> tuple[str, str]:
    return shown(wanted.base), shown(str(wanted.head))
