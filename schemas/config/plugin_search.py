"""Which plug-ins are installed here, and which keys do they have?

Entry points and schemas are read as files: no code of a plug-in runs. Only follow, `validate`, `plugins` and the
manager import this module, since it imports `importlib.metadata`.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from schemas import plugins
from schemas.config import fragments, plugin_names
from schemas.config.fragments import BadFragment, Fragment
from schemas.config.validation import SchemaSet, Unusable
from schemas.plugins import HOOK, PROVIDER, Plugin
from schemas.problems import shown
from schemas.regular_files import read_regular

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_MAX_ENTRY_POINTS = 1024**2
"""Bytes of one list of entry points at most."""

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


class Found(NamedTuple):
    """One plug-in that is installed: the name of its distribution, its keys, and why it cannot be used.

    The fragment is None if there is a `problem`. `plugin.path` is empty if its module was not found.
    """

    plugin: Plugin
    distribution: str
    fragment: Fragment | None
    problem: str = ""


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
        names = {fragment.name for fragment in self.fragments}
        broken = {
            each.plugin.name: Unusable(each.plugin.kind, each.plugin.name, each.problem)
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
    found: list[Found] = []
    problems = []
    seen = set()
    for folder in _with_plugins():
        try:
            package = _package(folder)
        except Exception as error:  # written by another program: whatever is wrong with it must not stop follow
            problems.append(f"cannot read the metadata in {folder}: {type(error).__name__}: {error}. Reinstall it.")
            continue
        if (name := re.sub("[-_.]+", "-", package.name).lower()) not in seen:
            seen.add(name)  # of two copies, Python imports the first one on `sys.path`
            found += [_found(package, kind, entry) for kind, entry in package.entries]
    plugins_once = sorted(_once_each(found), key=lambda each: (each.plugin, each.distribution))
    return Installed(tuple(plugins_once), tuple(problems))


class _Package(NamedTuple):
    name: str
    version: str
    entries: list[tuple[str, "EntryPoint"]]


def _package(folder: str) -> _Package:
    """Return a distribution's name, version and plug-ins.

    `importlib.metadata` is imported only if there is one: its import takes longer than the search, which each follow
    makes.
    """
    from importlib.metadata import Distribution

    found = Distribution.at(folder)
    groups = found.entry_points
    entries = [(kind, entry) for kind in (HOOK, PROVIDER) for entry in groups.select(group=plugins.GROUPS[kind])]
    return _Package(str(found.metadata["Name"]), str(found.version), entries)


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


def _found(package: _Package, kind: str, entry: "EntryPoint") -> Found:
    plugin = Plugin(kind, entry.name, entry.value, "", package.version)
    try:
        if why := plugin_names.problem(entry.name):
            raise BadFragment(why)
        path, folder = _place(entry.value)
        plugin = plugin._replace(path=str(path))
        return Found(plugin, package.name, _fragment(kind, entry.name, folder))
    except BadFragment as error:
        return Found(plugin, package.name, None, str(error))


def _place(module: str) -> tuple[Path, Path]:
    """Return the folder for `sys.path` from which a module can be imported, and the folder of the module's files."""
    if not _MODULE.fullmatch(module):
        raise BadFragment(f"its entry point `{shown(module)}` is not the name of a module")
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # looks for the package without executing it
    except ValueError:  # a module of this process that was not imported from a file
        spec = None
    for package in map(Path, (spec.submodule_search_locations or ()) if spec else ()):
        # An editable installation may map the name to another folder, which no folder of `sys.path` can express.
        if package.name == top and (folder := _folder(package.joinpath(*rest))):
            return package.parent, folder
    if spec and spec.origin and not rest and (file := Path(spec.origin)).is_file() and file.name.startswith(f"{top}."):
        return file.parent, file.parent
    raise BadFragment(f"its module `{module}` is not a file below a folder of `sys.path`")


def _folder(module: Path) -> Path | None:
    """Return the folder of the files of a module, whose path is given without an ending; None if there is none."""
    for suffix in all_suffixes():
        if module.joinpath(f"__init__{suffix}").is_file():
            return module
        if module.with_name(module.name + suffix).is_file():
            return module.parent
    return None


def _fragment(kind: str, name: str, folder: Path) -> Fragment:
    path = folder / f"{name}.schema.json"
    try:
        data = read_regular(path, fragments.MAX_BYTES)
    except FileNotFoundError:
        return fragments.without_keys(kind, name)
    except OSError as error:
        raise BadFragment(f"cannot read {path}: {error.strerror}") from error
    try:
        return fragments.read(kind, name, data)
    except BadFragment as error:
        raise BadFragment(f"{path}: {error}") from error


def _once_each(found: list[Found]) -> Iterator[Found]:
    """Yield the plug-ins; those whose name another one has as well cannot be used."""
    for each in found:
        others = [other for other in found if other is not each and other.plugin.name == each.plugin.name]
        if each.problem or not others:
            yield each
        else:
            names = " and ".join(f"the {other.plugin.kind} of {other.distribution}" for other in others)
            yield each._replace(fragment=None, problem=f"{names} has the same name; remove one of the packages")
