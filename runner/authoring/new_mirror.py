"""`skipjack add`: write the definition of a new mirror from a preset, if the repository is valid with it."""

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from runner.authoring import config_repository, file_writing, preset_files
from runner.authoring.definition_keys import NewMirror, as_yaml, definition
from runner.authoring.preset_files import Preset
from runner.base.output import log, say
from schemas.config import catalogue, hints, plugin_search
from schemas.config.schema_set import SchemaSet
from schemas.config.sources import EDITOR_SCHEMAS, SourceFile, read_directory
from schemas.errors import SkipjackError
from schemas.problems import Problem
from schemas.standard_streams import WARNING


class AddOptions(NamedTuple):
    """The options of the command; None for those that were not given."""

    upstream: str
    preset: str | None = None
    worker: str | None = None
    folder: str | None = None
    category: str | None = None
    repository: Path | None = None


def add_mirror(name: str, options: AddOptions) -> None:
    """Write the file of a new mirror and print what to do next.

    Raises SkipjackError, with nothing written, if the file exists or the repository would get a problem.
    """
    config_repository.checked_name(name)
    preset = preset_files.load(name if options.preset is None else options.preset)
    repository = config_repository.find(options.repository)
    sources = read_directory(repository)
    new = NewMirror(name, preset, options.upstream, "", options.worker or "", options.category or "")
    new = new._replace(folder=_folder(repository, options.folder, new, sources))
    target = repository / new.path
    _refuse_existing(new, sources, target)
    installed = plugin_search.installed().schemas
    written = definition(new, sources, installed)
    text = as_yaml(written.keys, _editor_schema(repository, target))
    _validate(new, [*sources, SourceFile(new.path, text.encode())], sources, installed)
    if file_writing.create({str(target): text}, below=str(repository)).kept:
        raise _exists(new.name, new.path)
    for remark in written.remarks:
        log(remark, about="add", level=WARNING)
    _say_written(preset, repository, new.path, text)


def _folder(repository: Path, chosen: str | None, new: NewMirror, sources: Sequence[SourceFile]) -> str:
    if chosen is not None:
        return config_repository.checked_folder(repository, chosen)
    return config_repository.folder_of(new.category or new.preset.category, sources)


def _refuse_existing(new: NewMirror, sources: Iterable[SourceFile], target: Path) -> None:
    for source in sources:
        if source.path.rpartition("/")[2].lower() == f"{new.name}.yml".lower():
            raise _exists(new.name, source.path)
    if os.path.lexists(target):
        raise _exists(new.name, new.path)


def _exists(name: str, path: str) -> SkipjackError:
    todo = "Edit that file, or choose another name with `--from`."
    return SkipjackError(f"cannot add `{name}`: {path} exists already.", todo)


def _editor_schema(repository: Path, target: Path) -> str:
    """Return the path from the file to the repository's schema for editors; empty if it has none."""
    schema = repository / EDITOR_SCHEMAS["mirror"]
    return os.path.relpath(schema, target.parent) if schema.is_file() else ""


def _validate(
    new: NewMirror, sources: Sequence[SourceFile], before: Sequence[SourceFile], installed: SchemaSet
) -> None:
    """Raise SkipjackError if the new file causes a problem; log warnings about it, and that others have problems."""
    found = catalogue.load(sources, installed)
    old = set(catalogue.load(before, installed).problems) if found.problems else set()
    caused = [problem for problem in found.problems if problem not in old]
    if caused:
        raise SkipjackError(f"cannot add `{new.name}`: " + "\n".join(_worded(each, new.path) for each in caused))
    if old:
        many = "1 problem" if len(old) == 1 else f"{len(old)} problems"
        log(f"other files have {many}: run `skipjack validate`", about="add", level=WARNING)
    for line in hints.of_mirrors(mirror for mirror in found.mirrors if mirror.name == new.name):
        log(line, about="add", level=WARNING)


def _worded(problem: Problem, path: str) -> str:
    """Return a problem; without a place if it is in the new file, which does not exist."""
    if problem.file != path:
        return str(problem)
    return f"{problem.what[:1].lower()}{problem.what[1:]} {problem.todo}"


def _say_written(preset: Preset, repository: Path, path: str, text: str) -> None:
    say(f"wrote {os.path.relpath(repository / path)}:\n")
    say("".join(f"    {line}\n" for line in text.splitlines()))
    say(f"Before you open a pull request: {_rule(preset)}")
    for line in _next_commands(repository, path):
        say(line, has_addresses=False)


def _rule(preset: Preset) -> str:
    if not preset.upstream_rule:
        return f"look for the project's rules for mirrors, {preset.homepage}"
    [url, *_more] = [source.url for source in preset.sources if "upstream_rule" in source.keys]
    return f"{preset.upstream_rule} ({url})"


def _next_commands(repository: Path, path: str) -> Iterator[str]:
    """Yield lines with the commands that commit the file and show its effect, from the current folder."""
    message = shlex.quote(f"Add {path.rpartition('/')[2].removesuffix('.yml')}")
    here = Path.cwd()
    if here.is_relative_to(repository):
        file = shlex.quote(os.path.relpath(repository / path))
        yield f"Next: git add {file} && git commit -m {message}"
        yield "Then: skipjack plan HEAD~..HEAD"
    else:
        folder = shlex.quote(str(repository))
        yield f"Next: git -C {folder} add {shlex.quote(path)} && git -C {folder} commit -m {message}"
        yield f"Then: skipjack plan HEAD~..HEAD --repo {folder}"
