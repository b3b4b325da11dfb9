"""Which plug-ins are installed here, and which keys do they have?

Entry points and schemas are read as files: no code of a plug-in runs. follow searches each time, so this module imports
what it needs for a plug-in (`schemas/config/plugin_files.py`) only if there is one.
"""

import os
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

from schemas import plugins
from schemas.config.fragments import Fragment
from schemas.config.schema_set import OWN, SchemaSet, Unusable
from schemas.plugins import HOOK, PROVIDER, Plugin
from schemas.regular_files import read_regular

_MAX_ENTRY_POINTS = 1024**2
"""Bytes of one list of entry points at most."""


class Found(NamedTuple):
    """One plug-in that is installed: its keys, and why it cannot be used.

    The fragment is None if there is a `problem`. `plugin.path` is empty if its module was not found. `state` changes
    whenever a file of its code does.
    """

    plugin: Plugin
    fragment: Fragment | None
    problem: str = ""
    state: str = ""

    @property
    def distribution(self) -> str:
        """The name of its distribution."""
        return self.plugin.distribution


class Installed(NamedTuple):
    """All plug-ins of this environment, sorted by kind and name, also those that cannot be used.

    `problems` are about distributions whose plug-ins are unknown.
    """

    plugins: tuple[Found, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def fragments(self) -> tuple[Fragment, ...]:
        """The keys of the plug-ins that can be used."""
        return tuple([found.fragment for found in self.plugins if found.fragment is not None])

    @property
    def schemas(self) -> SchemaSet:
        """The schemas with the keys of the plug-ins that can be used; what is hidden by others has no key."""
        if not self.plugins:
            return OWN
        from schemas.config import plugin_names

        names = {fragment.name for fragment in self.fragments}
        broken = {
            each.plugin.name: Unusable(
                each.plugin.kind, each.plugin.name, each.problem, f" ({plugins.origin(each.plugin)})"
            )
            for each in self.plugins
            if each.plugin.name not in names and not plugin_names.problem(each.plugin.name)
        }
        return SchemaSet(self.fragments, tuple(broken.values()))

    def find(self, kind: str, name: str) -> Found | None:
        """Return a plug-in, one that can be used if there is any; None if none has the name."""
        named = [found for found in self.plugins if (found.plugin.kind, found.plugin.name) == (kind, name)]
        return min(named, key=lambda found: bool(found.problem), default=None)


def installed() -> Installed:
    """Return the plug-ins of this environment. Raises nothing: what is wrong with a plug-in is its `problem`."""
    folders = list(_with_plugins())
    if not folders:
        return Installed()
    from schemas.config import plugin_files

    found: list[Found] = []
    problems = []
    seen = set()
    for folder in folders:
        try:
            package = plugin_files.package(folder)
        except Exception as error:  # written by another program: whatever is wrong with it must not stop follow
            problems.append(f"cannot read the metadata in {folder}: {type(error).__name__}: {error}. Reinstall it.")
            continue
        # The normal form of a distribution's name (PEP 503).
        if (name := re.sub("[-_.]+", "-", package.name).lower()) not in seen:
            seen.add(name)  # of two copies, Python imports the first one on `sys.path`
            found += [Found(*each) for each in plugin_files.plugins_of(package)]
    each_once = sorted(_once_each(found), key=lambda each: each.plugin)
    return Installed(tuple(each_once), tuple(problems))


def _with_plugins() -> Iterator[str]:
    """Yield the metadata folders on `sys.path` whose list of entry points names a group of plug-ins."""
    for parent in dict.fromkeys(sys.path):
        for folder in _metadata_folders(parent):
            try:
                text = read_regular(f"{folder}/entry_points.txt", _MAX_ENTRY_POINTS)
            except OSError:
                continue  # most distributions have no entry points
            if any(plugins.GROUPS[kind].encode() in text for kind in (HOOK, PROVIDER)):
                yield folder


def _metadata_folders(parent: str) -> list[str]:
    try:
        names = sorted(os.listdir(parent)) if parent.startswith("/") else []
    except OSError:
        return []  # an archive, or a folder that does not exist
    return [f"{parent}/{name}" for name in names if name.endswith((".dist-info", ".egg-info"))]


def _once_each(found: list[Found]) -> Iterator[Found]:
    """Yield the plug-ins; those whose name another one has as well cannot be used."""
    for each in found:
        named = [other for other in found if other.plugin.name == each.plugin.name]
        if each.problem or len(named) == 1:
            yield each
        else:
            names = " and ".join(sorted(f"the {other.plugin.kind} of {other.distribution}" for other in named))
            yield each._replace(fragment=None, problem=f"{names} have the same name; remove one of the packages")
