"""The schemas of plug-ins that a config repository carries, for machines without the plug-ins."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from schemas.config import fragment_checks, plugin_names
from schemas.config.fragment_checks import BadFragment
from schemas.config.fragments import Fragment
from schemas.config.schema_set import SchemaSet, Unusable
from schemas.config.sources import FRAGMENTS, SourceFile
from schemas.plugins import HOOK, PROVIDER
from schemas.problems import PLUGIN_SCHEMA, Problem, shown

MAX_FILES = 32
"""Files that are read; more of them would cost every check of a definition time and memory."""

_FILE = re.compile(rf"{re.escape(FRAGMENTS)}([^/]*)\.({PROVIDER}|{HOOK})\.schema\.json")


class Carried(NamedTuple):
    """The schemas with the keys of all plug-ins, the problems of files, and warnings about them."""

    schemas: SchemaSet
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def with_installed(sources: Iterable[SourceFile], installed: SchemaSet) -> Carried:
    """Return the plug-ins of a repository and the `installed` ones, whose own schemas are used if both exist.

    A file with a problem rejects nothing but the mirrors that use the plug-in.
    """
    own = {fragment.name: fragment for fragment in installed.fragments}
    found: dict[str, Fragment] = {}
    broken: dict[str, Unusable] = {}
    problems, warnings = [], []
    for place, file in enumerate(source for source in sources if source.path.startswith(FRAGMENTS)):
        try:
            fragment = _read(file) if place < MAX_FILES else _too_many(file)
            _check_kind(fragment, own.get(fragment.name) or found.get(fragment.name))
        except BadFragment as error:
            what = f"The schema of the plug-in cannot be used: {error}."
            problems.append(Problem(file.path, 1, 1, what, _TODO, PLUGIN_SCHEMA))
            if match := _FILE.fullmatch(file.path):
                broken[match[1]] = Unusable(match[2], match[1], f"see the problem of `{file.path}`")
            continue
        # The installed plug-in is what runs, so its own schema counts.
        if fragment.name not in own:
            found[fragment.name] = fragment
        elif fragment.schema != own[fragment.name].schema:
            warnings.append(_differs(file, fragment.name))
    names = own.keys() | found.keys()
    unusable = {each.name: each for each in installed.unusable} | broken
    free = [unusable[name] for name in sorted(unusable.keys() - names) if not plugin_names.problem(name)]
    schemas = SchemaSet((*own.values(), *(found[name] for name in sorted(found))), tuple(free))
    return Carried(schemas, tuple(problems), tuple(warnings))


_TODO = "Replace it by the file from the package of the plug-in, or remove it."


def _read(file: SourceFile) -> Fragment:
    match = _FILE.fullmatch(file.path)
    if match is None:
        raise BadFragment("its name is not `NAME.provider.schema.json` or `NAME.hook.schema.json`")
    name, kind = match[1], match[2]
    if why := plugin_names.problem(name):
        raise BadFragment(why)
    if file.data is None:
        raise BadFragment("it is a symbolic link, and links are not followed")
    return fragment_checks.read(kind, name, file.data)


def _too_many(_file: SourceFile) -> Fragment:
    raise BadFragment(f"the folder has more than {MAX_FILES} files")


def _check_kind(fragment: Fragment, other: Fragment | None) -> None:
    if other is not None and other.kind != fragment.kind:
        raise BadFragment(f"there is a {other.kind} `{other.name}` as well, and each name can be used only once")


def _differs(file: SourceFile, name: str) -> str:
    what = f"{file.path} differs from the schema of the installed plug-in `{name}`, which is used instead."
    return f"{what} Update it with `skipjack schema {shown(name)} > {file.path}`."
