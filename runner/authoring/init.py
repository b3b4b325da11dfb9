"""`skipjack init`: create a config repository in a folder, or renew the schemas of one."""

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from runner.authoring import editor_files, file_writing, guesses, repository_files, repository_place
from runner.authoring.file_writing import Created
from runner.authoring.repository_files import CI_FILES, NONE, SiteFacts
from runner.authoring.repository_place import RepositoryPlace
from runner.base.output import log, say
from schemas.config import catalogue, plugin_search
from schemas.config.catalogue import SITE, WORKERS
from schemas.config.fragments import Fragment
from schemas.config.sources import FRAGMENTS, SourceFile, is_config, read_directory
from schemas.errors import SkipjackError
from schemas.git import git_command
from schemas.git.git_command import GitFailed
from schemas.problems import InvalidConfigError, printable
from schemas.standard_streams import WARNING


class Choices(NamedTuple):
    """What a person chose; None where it is guessed."""

    forge: str | None = None
    title: str | None = None
    time_zone: str | None = None
    worker: str | None = None
    source: str | None = None


def create(directory: str, choices: Choices) -> None:
    """Write the files of a config repository into a folder, and print what is left to do. Files that exist stay.

    Raises SkipjackError, before anything is written, if the folder cannot become one.
    """
    place = repository_place.located(directory)
    repository_place.check_unused(place)
    if not place.has_git:
        git_command.require_git()
    facts = _facts(place, choices)
    there = read_directory(Path(place.folder)) if os.path.isdir(place.folder) else ()
    forge = choices.forge or guesses.forge(_remote(place))
    definitions = repository_files.definitions(facts, forge, editor_files.carried_by(there).schemas)
    _check(place, definitions, there)
    of_forge = repository_files.of_forge(facts, forge, place.within)
    # The definitions last: `_site.yml` among them makes the folder a config repository.
    files = _below(place.top, of_forge) | _below(place.folder, definitions)
    written = file_writing.create(files, below=repository_place.existing(place.top))
    if not place.has_git:
        _begin_history(place)
    _report(place, written, forge, facts)


def update(directory: str) -> None:
    """Renew the schemas for editors in a config repository, with the keys of its plug-ins, and print which changed."""
    place = repository_place.located(directory)
    if not os.path.isfile(os.path.join(place.folder, SITE)):
        what = f"{printable(place.folder)} is not a config repository: it has no `{SITE}`."
        raise SkipjackError(what, f"Name the folder with `{SITE}`, or create one with `skipjack init`.")
    carried = editor_files.carried_by(read_directory(Path(place.folder)))
    for line in (*map(str, carried.problems), *carried.warnings):
        log(line, about="init", level=WARNING)
    wanted = _below(place.folder, editor_files.wanted(carried.schemas))
    file_writing.check_folders(wanted, place.folder)
    changed = {path: text for path, text in wanted.items() if not editor_files.is_current(path, text)}
    file_writing.replace(changed, below=place.folder)
    for path in changed:
        say(f"updated {_shown(path, place)}")
    if not changed:
        say("the schemas are up to date")
    for plugin in plugin_search.installed().fragments:
        if plugin.name not in {each.name for each in carried.schemas.fragments}:
            log(_not_carried(plugin), about="init")


def _facts(place: RepositoryPlace, choices: Choices) -> SiteFacts:
    host = guesses.host()
    return SiteFacts(
        guesses.title(place.folder, host) if choices.title is None else choices.title,
        choices.time_zone or guesses.time_zone(os.environ),
        choices.worker or guesses.worker(host),
        guesses.source() if choices.source is None else choices.source,
    )


def _not_carried(plugin: Fragment) -> str:
    file = f"{FRAGMENTS}{plugin.name}.{plugin.kind}.schema.json"
    what = f"the schemas lack the keys of the plug-in `{plugin.name}`, which the repository does not carry."
    return f"{what} To add them, write `skipjack schema {plugin.name}` to {file} and repeat this."


def _remote(place: RepositoryPlace) -> str:
    if not place.has_git:
        return ""
    git_command.require_git()
    return git_command.address_of_remote(Path(place.top))


def _check(place: RepositoryPlace, definitions: Mapping[str, str], there: Iterable[SourceFile]) -> None:
    """Check that the new files are valid, together with files that are there already and stay."""
    paths = {file.path for file in there}
    new = [
        SourceFile(path, text.encode()) for path, text in definitions.items() if is_config(path) and path not in paths
    ]
    try:
        problems = catalogue.load([*there, *new], plugin_search.installed().schemas).problems
    except InvalidConfigError as refused:
        problems = refused.problems
    if problems:
        words = "the files in it would be invalid as definitions of mirrors" if paths else "a value is invalid"
        raise InvalidConfigError(f"cannot create a config repository in {printable(place.folder)}: {words}:", problems)


def _below(folder: str, files: Mapping[str, str]) -> dict[str, str]:
    return {os.path.join(folder, path): text for path, text in files.items()}


def _begin_history(place: RepositoryPlace) -> None:
    try:
        git_command.begin_repository(Path(place.folder))
    except GitFailed as failure:
        what = f"the files are written, but `git init` failed: {failure.reason}."
        raise SkipjackError(what, f"Run `git init -b main` in {printable(place.folder)}.") from failure


def _report(place: RepositoryPlace, written: Created, forge: str, facts: SiteFacts) -> None:
    say(f"created a config repository in {printable(place.folder)}:")
    # Definitions first: a point sorts before an underscore.
    for path in sorted(written.created, key=lambda each: (_shown(each, place).startswith("."), each)):
        say(f"  {_shown(path, place)}")
    for path in written.kept:
        say(f"  {_shown(path, place)} (existed, not changed)")
    say("\nWhat to do next:")
    for number, line in enumerate(_tasks(place, written, forge, facts), 1):
        say(f"  {number}. {line}")


def _tasks(place: RepositoryPlace, written: Created, forge: str, facts: SiteFacts) -> Iterator[str]:
    yield f"Read {SITE} and {WORKERS}, and adapt them. example.yml shows a mirror: rename and change it, or remove it."
    yield "Add mirrors: skipjack add NAME --upstream URL; skipjack presets lists well-known ones."
    if forge != NONE and os.path.join(place.top, CI_FILES[forge]) in written.kept:
        yield f"Let {CI_FILES[forge]} run `skipjack validate {printable(place.within)}`."
    elif forge != NONE and not facts.source:
        yield f"Set SKIPJACK_SOURCE in {CI_FILES[forge]}: where CI installs Skipjack from."
    here = shlex.quote(os.path.relpath(place.folder))
    yield f"Check: skipjack validate{'' if here == '.' else f' {here}'}"
    program = f"git{'' if here == '.' and place.within == '.' else f' -C {shlex.quote(os.path.relpath(place.top))}'}"
    files = ["."] if place.within == "." else [place.within, *repository_files.job_files(facts, forge)]
    yield f'Commit: {program} add {shlex.join(files)} && {program} commit -m "Define the mirrors"'
    yield "Push. Then write the settings of each machine: skipjack init --worker, skipjack init --manager"


def _shown(path: str, place: RepositoryPlace) -> str:
    return printable(os.path.relpath(path, place.folder))
