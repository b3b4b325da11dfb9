"""`skipjack schema`: the schemas of files for editors, and those of plug-ins for a config repository."""

import json
from pathlib import Path

from runner.base.output import log, say
from schemas.config import carried_fragments, editor_schema, plugin_search, sources
from schemas.config.plugin_search import Installed
from schemas.errors import SkipjackError
from schemas.standard_streams import WARNING


def print_schema(kind: str, directory: Path) -> None:
    """Print the schema of a kind of file with all plug-ins, or that of an installed plug-in's keys.

    Raises SkipjackError if there is neither.
    """
    installed = plugin_search.installed()
    text = _of_files(kind, directory, installed) if kind in editor_schema.KINDS else _of_plugin(kind, installed)
    say(text.rstrip(), has_addresses=False)


def _of_files(kind: str, directory: Path, installed: Installed) -> str:
    carried = carried_fragments.with_installed(sources.read_directory(directory), installed.schemas)
    for line in (*map(str, carried.problems), *carried.warnings):
        log(line, about="schema", level=WARNING)
    return editor_schema.text(kind, carried.schemas)


def _of_plugin(name: str, installed: Installed) -> str:
    known = {fragment.name: fragment.schema for fragment in installed.fragments}
    if name not in known:
        kinds = ", ".join(f"`{each}`" for each in (*editor_schema.KINDS, *sorted(known)))
        raise SkipjackError(f"`{name}` is neither a kind of file nor an installed plug-in.", f"Write one of {kinds}.")
    return json.dumps(known[name], indent=2)
