"""Fills the tables of keys and of presets in the pages beside this file, or checks that they are filled.

    python docs/generate_reference.py [--check] [FOLDER]

A page marks the place of a table with `<!-- keys: SCHEMA#/POINTER -->` and `<!-- end -->`, that of the presets with
`<!-- presets -->`; everything around it is written by hand. With `--check` nothing is written, and the exit code is 1
when a page is not what it should be.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from runner.authoring import preset_files
from schemas.config import built_in
from schemas.config.schema_set import schema
from schemas.config.sources import EXCLUDE_FILE_PATTERN
from schemas.names import NAME_PATTERN
from schemas.units import DURATION_PATTERN, SIZE_PATTERN

PAGES = ("configuration.md", "settings.md")

_TABLE = re.compile(r"(?<=<!-- keys: )(\w+)#(\S*) -->\n.*?(?=<!-- end -->)", re.DOTALL)
_HEAD = "| Key | Value | Default | Example | What it means |\n| --- | --- | --- | --- | --- |\n"

_PRESETS = re.compile(r"<!-- presets -->\n.*?<!-- end -->", re.DOTALL)
_PRESETS_HEAD = "| Preset | Title | Kind | Order of transfers | Interval | Timestamp file |\n|" + " --- |" * 6 + "\n"

_PATTERNS = {
    DURATION_PATTERN: "duration",
    SIZE_PATTERN: "size",
    NAME_PATTERN: "name",
    EXCLUDE_FILE_PATTERN: "path",
    "^https?://[^\\s]+$": "URL",
    "^https?://[^\\s]*[^/\\s]$": "URL",
}

_BAR = r"\|"
_LONG = 30
"""Entries of a list that no table can show."""

Part = dict[str, Any]


def filled(page: str) -> str:
    """The page with all its tables as the schemas say now."""
    page = _TABLE.sub(lambda match: f"{match[1]}#{match[2]} -->\n{_table(match[1], match[2])}", page)
    return _PRESETS.sub(lambda _match: f"<!-- presets -->\n{_presets()}<!-- end -->", page)


def _presets() -> str:
    """The table of all presets; a fact that is not documented is empty."""
    rows = []
    for preset in map(preset_files.load, preset_files.names()):
        facts = (preset.stage1_profile, preset.interval, preset.freshness)
        cells = [f"`{preset.name}`", preset.title, preset.kind, *(f"`{fact}`" if fact else "" for fact in facts)]
        rows.append(f"| {' | '.join(cells)} |\n")
    return _PRESETS_HEAD + "".join(rows)


def _table(name: str, pointer: str) -> str:
    part: Any = schema(name)
    for step in pointer.split("/")[1:]:
        part = part[step]
    required = {*part.get("required", ()), *part.get("x-required", ())}
    return _HEAD + "".join(_row(name, key, below, key in required) for key, below in part["properties"].items())


def _default(name: str, value: Any) -> str:
    """A default, or where it is described if it is a long list."""
    is_long = isinstance(value, list) and len(value) > _LONG
    return f"[{len(value)} entries](../schemas/files/{name}.schema.json)" if is_long else _code(value)


def _row(name: str, key: str, part: Part, required: bool) -> str:
    default = "required" if required else _default(name, part["default"]) if "default" in part else ""
    readers = built_in.readers(key) if name == "mirror" else None
    providers = f" For {_joined(readers)}." if readers else ""
    cells = [f"`{key}`", _kind(part), default, _code(part["examples"][0]), part["description"] + providers]
    return f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |\n"


def _kind(part: Part) -> str:
    """What may be written, in a word or two."""
    if "$ref" in part:
        return "keys of a mirror"
    if "enum" in part:
        return _joined(part["enum"])
    if "anyOf" in part:
        return " or ".join(dict.fromkeys(map(_kind, part["anyOf"])))
    match part["type"]:
        case "integer":
            return f"{part['minimum']} to {part['maximum']}"
        case "boolean":
            return "`true` or `false`"
        case "array":
            return f"list of {_kind(part['items'])}".replace("of name", "of names")
        case "object":
            return "mapping"
    pattern = part.get("pattern", "")
    return _PATTERNS.get(pattern, "absolute path" if pattern.startswith("^/") else "text")


def _joined(words: Iterable[str]) -> str:
    return " or ".join(f"`{word}`" for word in words)


def _code(value: object) -> str:
    """A value as one would write it after its key."""
    flow = isinstance(value, dict | list)
    text: str = yaml.safe_dump({"key": value}, default_flow_style=flow, sort_keys=False, width=1000)
    return f"`{text.strip().removeprefix('{').removeprefix('key: ').removesuffix('}' if flow else '')}`"


def _changed(folder: Path) -> Iterator[tuple[Path, str]]:
    for name in PAGES:
        page = (folder / name).read_text("utf-8")
        if (new := filled(page)) != page:
            yield folder / name, new


def main(words: list[str]) -> int:
    """Fill or check the pages of a folder and give the exit code."""
    check = "--check" in words
    folders = [Path(word) for word in words if word != "--check"] or [Path(__file__).parent]
    stale = [found for folder in folders for found in _changed(folder)]
    for path, new in stale:
        if not check:
            path.write_text(new, "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
