"""The schemas for editors that a config repository keeps in `.skipjack/schemas`: what they should be, and are."""

import json
import os
from collections.abc import Iterable, Mapping

from schemas.config import carried_fragments, editor_schema
from schemas.config.schema_set import OWN, SchemaSet
from schemas.config.sources import EDITOR_SCHEMAS, SourceFile
from schemas.regular_files import read_regular

_MOST = 16 * 1024 * 1024
"""Bytes of a file at most: far more than the schema with the keys of all plug-ins that a repository may carry."""


def wanted(schemas: SchemaSet) -> dict[str, str]:
    """Return the text of each file by its path, with the keys of the plug-ins in `schemas`."""
    return {path: editor_schema.text(kind, schemas) for kind, path in EDITOR_SCHEMAS.items()}


def warnings(directory: str, sources: Iterable[SourceFile], installed: SchemaSet) -> list[str]:
    """Return a line if files are not those of this release. `sources` are the files of the repository."""
    paths = outdated(directory, sources, installed)
    if not paths:
        return []
    verb = "differs" if len(paths) == 1 else "differ"
    return [f"{', '.join(paths)} {verb} from the schemas of this release. Update with `skipjack init --update`."]


def outdated(directory: str, sources: Iterable[SourceFile], installed: SchemaSet) -> list[str]:
    """Return the paths of existing files that are not those of this release.

    The keys of plug-ins count that the repository carries. Those of other installed ones may be there: other machines
    may lack these plug-ins. `sources` are the files of the repository.
    """
    found = _existing(directory)
    if not found:
        return []
    files = tuple(sources)
    differing = _differing(found, carried_fragments.with_installed(files, OWN).schemas)
    return [*_differing(differing, carried_fragments.with_installed(files, installed).schemas)]


def is_current(path: str, text: str) -> bool:
    """Return whether the file at a path has this schema, however it is laid out."""
    return os.path.lexists(path) and _parsed(path) == json.loads(text)


def _differing(found: Mapping[str, object], schemas: SchemaSet) -> dict[str, object]:
    kinds = {path: kind for kind, path in EDITOR_SCHEMAS.items()}
    return {path: value for path, value in found.items() if value != editor_schema.bundled(kinds[path], schemas)}


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
