"""Which keys does the definition of a new mirror need, so that with what it inherits it has the facts of its preset?"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from runner.authoring.preset_files import UPSTREAM_HOST, Preset
from runner.importing import yaml_text
from schemas.config import catalogue
from schemas.config.schema_set import OWN, SchemaSet, schema
from schemas.config.sources import FRAGMENTS, SourceFile
from schemas.config.upstreams import daemon_host
from schemas.errors import SkipjackError
from schemas.mirror_record import Mirror

_OWN_KEYS = ("title", "description", "homepage", "upstream")
"""Keys that belong to one mirror, so they are written in any case."""

_ANY = {"provider": "rsync", "upstream": "rsync://rsync.example.org/x/"}
"""A valid mirror, if it inherits a worker."""


class NewMirror(NamedTuple):
    """A mirror to add: its name, the upstream, its preset, and the worker and category that were chosen (or empty).

    `folder` is the path below the repository, with slashes.
    """

    name: str
    preset: Preset
    upstream: str
    folder: str = ""
    worker: str = ""
    category: str = ""

    @property
    def path(self) -> str:
        """The path of its file below the repository."""
        return f"{self.folder}/{self.name}.yml".lstrip("/")


class NewDefinition(NamedTuple):
    """The keys of the file in their order, and remarks about facts that it leaves out."""

    keys: Mapping[str, Any]
    remarks: Sequence[str] = ()


def definition(new: NewMirror, sources: Sequence[SourceFile], installed: SchemaSet = OWN) -> NewDefinition:
    """Return the keys that a mirror needs in this repository.

    A key is left out if the mirror is the same without it. Raises SkipjackError if the site or its workers are invalid,
    or if the mirror needs a worker that only a person can choose.
    """
    rest = _Inherited(new.path, sources, installed)
    category, remarks = _category(new, rest.categories)
    freshness, more = _freshness(new)
    preset = new.preset
    facts = {
        "title": preset.title,
        "description": preset.description,
        "homepage": preset.homepage,
        "upstream": new.upstream,
        "category": category,
        "provider": preset.provider or "rsync",
        "stage1_profile": preset.stage1_profile,
        "interval": preset.interval,
        "freshness": {"file": freshness} if freshness else {},
    }
    keys = {key: value for key, value in facts.items() if value}
    keys |= _worker(new, rest)
    needed = _without_inherited(keys, rest)
    order = list(schema("mirror")["properties"])
    return NewDefinition({key: needed[key] for key in sorted(needed, key=order.index)}, (*remarks, *more))


def as_yaml(keys: Mapping[str, Any], editor_schema: str = "") -> str:
    """Return the text of a definition; `editor_schema` is the path of the schema from its folder, or empty."""
    head = f"# yaml-language-server: $schema={editor_schema}\n" if editor_schema else ""
    return head + yaml_text.block(keys)


class _Inherited:
    """The part of a repository that one file inherits from: the top files, and the `_defaults.yml` above it."""

    def __init__(self, path: str, sources: Sequence[SourceFile], installed: SchemaSet) -> None:
        folders = path.split("/")[:-1]
        above = {"/".join([*folders[:depth], catalogue.DEFAULTS]) for depth in range(len(folders) + 1)}
        wanted = above | {catalogue.SITE, catalogue.WORKERS}
        self._path, self._installed = path, installed
        self._sources = [
            each for each in sources if each.path in wanted or each.has_patterns or each.path.startswith(FRAGMENTS)
        ]
        found = catalogue.load(self._sources, installed)
        self.categories, self.workers = list(found.site.categories), list(found.workers)

    def mirrors(self, keys: Mapping[str, Any]) -> tuple[Mirror, ...]:
        """Return the records of a mirror with these keys, one for each worker; none if it has a problem."""
        file = SourceFile(self._path, as_yaml(keys).encode())
        return catalogue.load([*self._sources, file], self._installed).mirrors


def _without_inherited(keys: Mapping[str, Any], rest: _Inherited) -> Mapping[str, Any]:
    meant = rest.mirrors(keys)
    needed = dict(keys)
    for key in keys if meant else ():  # what has a problem is shown whole
        fewer = {each: value for each, value in needed.items() if each != key}
        if key not in _OWN_KEYS and rest.mirrors(fewer) == meant:
            needed = fewer
    return needed


def _worker(new: NewMirror, rest: _Inherited) -> Mapping[str, str]:
    """Return the key `worker`: the chosen one, or the only one if none is inherited."""
    if new.worker:
        return {"worker": new.worker}
    if not rest.workers or rest.mirrors(_ANY) or not rest.mirrors({**_ANY, "worker": rest.workers[0]}):
        return {}
    if len(rest.workers) == 1:
        return {"worker": rest.workers[0]}
    known = ", ".join(f"`{name}`" for name in rest.workers)
    raise SkipjackError(f"cannot add `{new.name}`: it inherits no worker.", f"Name one with `--worker`: {known}.")


def _category(new: NewMirror, known: Sequence[str]) -> tuple[str, Sequence[str]]:
    if new.category or new.preset.category in known:
        return new.category or new.preset.category, ()
    what = f"`{catalogue.SITE}` has no category `{new.preset.category}`, so the definition names none."
    listed = ", ".join(f"`{name}`" for name in known)
    todo = f"Choose one with `--category`: {listed}." if known else f"Add `categories:` to `{catalogue.SITE}`."
    return "", (f"{what} {todo}",)


def _freshness(new: NewMirror) -> tuple[str, Sequence[str]]:
    """Return the path of the upstream's timestamp file; empty, with a remark, if it needs a host name."""
    file = new.preset.freshness
    if UPSTREAM_HOST not in file:
        return file, ()
    host = daemon_host(new.upstream) or ""
    if host and not _is_address(host):
        return file.replace(UPSTREAM_HOST, host), ()
    what = f"`freshness` is left out: the timestamp file `{file}` has the upstream's host name, which is not known."
    return "", (f"{what} Look into that folder of the upstream, and add the key.",)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
