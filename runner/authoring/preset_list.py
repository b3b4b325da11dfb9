"""`skipjack presets`: the list of all presets, and everything about one of them."""

import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from runner.authoring import preset_files
from runner.authoring.definition_keys import NewMirror, as_yaml, definition
from runner.authoring.preset_files import Preset
from runner.base.output import say
from schemas.config import catalogue
from schemas.config.sources import SourceFile

_WIDTH = 100
_ROWS = {
    "homepage": "Home page",
    "kind": "Kind",
    "category": "Category",
    "provider": "Provider",
    "stage1_profile": "Profile",
    "freshness": "Timestamp file",
    "interval": "Interval",
    "upstream_rule": "Upstream's rule",
}
"""The keys of a preset that are printed beside a label."""

_EXAMPLE = (
    SourceFile(catalogue.SITE, b"title: x\ncategories: {os: x, images: x, software: x, archives: x}\n"),
    SourceFile(catalogue.WORKERS, b"workers: {w1: {}}\n"),
    SourceFile(catalogue.DEFAULTS, b"worker: w1\n"),
)
"""A repository from which a definition inherits only its worker."""


def print_presets(kind: str | None, *, as_json: bool) -> None:
    """Print a line for each preset, only those of a `kind` unless it is None, or all facts as JSON."""
    presets = [each for each in map(preset_files.load, preset_files.names()) if kind in (None, each.kind)]
    if as_json:
        say(json.dumps([_plain(each) for each in presets], indent=2), has_addresses=False)
    else:
        _say_table([("NAME", "KIND", "PROVIDER", "INTERVAL", "TITLE"), *map(_cells, presets)])


def print_preset(name: str, *, as_json: bool) -> None:
    """Print everything about one preset, with the sources of its facts; SkipjackError if it does not exist."""
    preset = preset_files.load(name)
    if as_json:
        say(json.dumps(_plain(preset), indent=2), has_addresses=False)
    else:
        say("\n".join(_whole(preset)), has_addresses=False)


def _plain(preset: Preset) -> dict[str, Any]:
    """Return a preset in the form of its file, with its name."""
    facts = {key: value for key, value in preset._asdict().items() if value}
    nested = {"freshness": {"file": preset.freshness}} if preset.freshness else {}
    return facts | nested | {"sources": [each._asdict() for each in preset.sources]}


def _cells(preset: Preset) -> tuple[str, ...]:
    provider = " ".join(filter(None, (preset.provider or "rsync", preset.stage1_profile)))
    return preset.name, preset.kind, provider, preset.interval or "-", preset.title


def _say_table(lines: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)][:-1]
    for line in lines:
        say("  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]))


def _whole(preset: Preset) -> Iterator[str]:
    yield f"{preset.name}: {preset.title}"
    yield preset.description
    yield ""
    width = max(map(len, _ROWS.values())) + 2
    for key, label in _ROWS.items():
        if value := getattr(preset, key):
            yield from _wrapped(f"{label}:".ljust(width), value)
    yield from ["", "Sources:"] if preset.sources else []
    for source in preset.sources:
        yield f"  {', '.join(source.keys)}: {source.url} (read {source.read})"
    upstream = f"rsync://rsync.example.org/{preset.name}/"
    keys = definition(NewMirror(preset.name, preset, upstream), _EXAMPLE).keys
    yield from ["", f"`skipjack add {preset.name} --upstream {upstream}` writes, without what is inherited:"]
    yield from (f"  {line}" for line in as_yaml(keys).splitlines())


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=label, subsequent_indent=" " * len(label), break_long_words=False)
