"""Which presets are there, and what does each say about its project?

A preset is a file in `presets/`, named like the mirror on most sites. Each fact that is not common knowledge names the
document that it comes from.
"""

from importlib.resources import files
from typing import Any, NamedTuple

from schemas.config.validation import examine
from schemas.config.yaml_file import nearest, parse
from schemas.errors import SkipjackError
from schemas.problems import InvalidConfigError, shown

UPSTREAM_HOST = "{upstream_host}"
"""Stands for the upstream's host name in the path of a timestamp file."""

_ENDING = ".yml"


class FactSource(NamedTuple):
    """A document, the keys of a preset that come from it, and the day on which it was read (`2026-11-30`)."""

    keys: tuple[str, ...]
    url: str
    read: str


class Preset(NamedTuple):
    """What is known about a project; a fact that is not documented is empty.

    `interval` is a duration as in YAML. `freshness` is the path of a timestamp file, with or without UPSTREAM_HOST.
    """

    name: str
    title: str
    description: str
    homepage: str
    kind: str
    category: str
    provider: str = ""
    stage1_profile: str = ""
    freshness: str = ""
    interval: str = ""
    upstream_rule: str = ""
    sources: tuple[FactSource, ...] = ()


def names() -> list[str]:
    """Return the names of all presets, sorted without regard to case."""
    found = [each.name for each in files("runner.authoring").joinpath("presets").iterdir()]
    return sorted((name.removesuffix(_ENDING) for name in found if name.endswith(_ENDING)), key=str.lower)


def load(name: str) -> Preset:
    """Return the preset called `name`. Raises SkipjackError, with the most similar name, if there is none."""
    known = names()
    if name not in known:
        raise SkipjackError(f"there is no preset `{shown(name)}`.", _advice(name, known))
    text = files("runner.authoring").joinpath("presets", f"{name}{_ENDING}").read_bytes()
    return from_yaml(name, text)


def _advice(name: str, known: list[str]) -> str:
    by_small = {each.lower(): each for each in known}
    similar = [by_small[each] for each in nearest(name.lower(), by_small)]
    if similar:
        return f"Did you mean `{similar[0]}`?"
    return "`skipjack presets` lists all of them; write the definition of any other mirror yourself."


def from_yaml(name: str, data: bytes) -> Preset:
    """Return a preset from the content of its file. Raises InvalidConfigError with all problems."""
    document = examine("preset", parse(data, f"{name}{_ENDING}"))
    if document.problems:
        raise InvalidConfigError(f"the preset `{name}` is invalid:", document.problems)
    plain: dict[str, Any] = dict(document.value)
    plain["freshness"] = plain.get("freshness", {}).get("file", "")
    plain["sources"] = tuple(
        FactSource(tuple(each["keys"]), each["url"], each["read"]) for each in plain.get("sources", ())
    )
    return Preset(name, **plain)
