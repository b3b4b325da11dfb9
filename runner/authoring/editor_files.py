"""The schemas for editors that a config repository keeps in `.skipjack/schemas`: what they should be, and are."""

import json
import os
from collections.abc import Iterable

from schemas.config import carried_fragments, editor_schema
from schemas.config.carried_fragments import Carried
from schemas.config.schema_set import OWN, SchemaSet
from schemas.config.sources import EDITOR_SCHEMAS, SourceFile
from schemas.regular_files import read_regular

_MOST = 16 * 1024 * 1024
"""Bytes of a file at most: far more than the schema with the keys of all plug-ins that a repository may carry."""


def wanted(carried: SchemaSet) -> dict[str, str]:
    """Return the text of each file by its path.

    It has the keys of the plug-ins that the repository carries, and of no other installed ones: it would change with
    the machine on which it is written.
    """
    return {path: editor_schema.text(kind, carried) for kind, path in EDITOR_SCHEMAS.items()}


def carried_by(sources: Iterable[SourceFile]) -> Carried:
    """Return the schemas with the keys of the plug-ins that a repository with these files carries."""
    return carried_fragments.with_installed(sources, OWN)


def warnings(directory: str, sources: Iterable[SourceFile]) -> list[str]:
    """Return a line if files are not those of this release. `sources` are the files of the repository."""
    paths = outdated(directory, sources)
    if not paths:
        return []
    verb = "differs" if len(paths) == 1 else "differ"
    return [f"{', '.join(paths)} {verb} from the schemas of this release. Update with `skipjack init --update`."]


def outdated(directory: str, sources: Iterable[SourceFile]) -> list[str]:
    """Return the paths of existing files that are not those of this release, however they are laid out."""
    found = _existing(directory)
    if not found:
        return []
    schemas, kinds = carried_by(sources).schemas, {path: kind for kind, path in EDITOR_SCHEMAS.items()}
    return [path for path, value in found.items() if value != editor_schema.bundled(kinds[path], schemas)]


def is_current(path: str, text: str) -> bool:
    """Return whether the file at a path has this schema, however it is laid out."""
    return os.path.lexists(path) and _parsed(path) == json.loads(text)


def _existing(directory: str) -> dict[str, object]:
    """Return the parsed files by path: formatters may lay them out differently. None stands for an unusable one."""
    paths = {path: os.path.join(directory, path) for path in EDITOR_SCHEMAS.values()}
    return {path: _parsed(full) for path, full in paths.items() if os.path.lexists(full)}


def _parsed(path: str) -> object:
    if os.path.islink(path):
        return None
    try:
        return json.loads(read_regular(path, _MOST))
    except (OSError, ValueError, RecursionError):
        return None
