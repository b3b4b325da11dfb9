"""Find the module and the schema of a plug-in that an entry point names, without executing any of its code."""

import contextlib
import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator
from importlib.machinery import all_suffixes
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path
from typing import NamedTuple

from schemas.config import fragment_checks, plugin_names
from schemas.config.fragment_checks import BadFragment
from schemas.config.fragments import Fragment
from schemas.plugins import GROUPS, HOOK, PROVIDER, Plugin
from schemas.problems import shown
from schemas.regular_files import read_regular

_CODE = tuple(all_suffixes())
"""Endings of files that Python imports."""

_MOST_FILES = 2000
"""Files of a package whose changes are noticed."""

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


class Package(NamedTuple):
    """A distribution: its name, its version, and its entry points of providers and hooks, each with the kind."""

    name: str
    version: str
    entries: tuple[tuple[str, EntryPoint], ...]


def package(folder: str) -> Package:
    """Return the distribution with metadata in a folder. Raises any exception if the metadata is damaged."""
    found = Distribution.at(folder)
    groups = found.entry_points
    entries = [(kind, entry) for kind in (HOOK, PROVIDER) for entry in groups.select(group=GROUPS[kind])]
    return Package(str(found.metadata["Name"]), str(found.version), tuple(entries))


def plugins_of(found: Package) -> Iterator[tuple[Plugin, Fragment | None, str, str]]:
    """Yield the plug-ins of a distribution, each with its keys or why it has none, and the state of its code."""
    for kind, entry in found.entries:
        plugin, state = Plugin(kind, entry.name, entry.value, "", found.version, found.name), ""
        try:
            if why := plugin_names.problem(entry.name):
                raise BadFragment(why)
            place = _place(entry.value)
            plugin, state = plugin._replace(path=str(place.path)), _state(place.code)
            yield plugin, _fragment(kind, entry.name, place.folder), "", state
        except BadFragment as error:
            yield plugin, None, str(error), state


class _ModulePlace(NamedTuple):
    """A module: the folder for `sys.path` from which it can be imported, that of its files, and all of its code.

    `code` is the folder of its top package, or its only file.
    """

    path: Path
    folder: Path
    code: Path


def _state(code: Path) -> str:
    """Return a text that changes whenever a file of a package does: its content, by time and size, or its name.

    Nothing is imported or read, and of a package with very many files only some count: follow needs this each time.
    """
    found = []
    for number, (path, status) in enumerate(_files(code)):
        if number == _MOST_FILES:
            break
        found.append((path, status.st_mtime_ns, status.st_size))
    return hashlib.sha256(repr(sorted(found)).encode("utf-8", "surrogateescape")).hexdigest()


def _files(code: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files with the code of a package, without what Python compiles from them."""
    with contextlib.suppress(OSError):  # removed meanwhile: the next follow finds another state
        if not code.is_dir():
            yield str(code), code.stat()
            return
        with os.scandir(code) as entries:
            for entry in sorted(entries, key=lambda each: each.name):
                if entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
                    yield from _files(Path(entry.path))
                elif entry.name.endswith(_CODE):
                    yield entry.path, entry.stat()


def _place(module: str) -> _ModulePlace:
    """Return the place of a module; BadFragment if it cannot be imported from a folder of `sys.path`."""
    if not _MODULE.fullmatch(module):
        raise BadFragment(f"its entry point `{shown(module)}` is not the name of a module")
    top, *rest = module.split(".")
    try:
        # The top name alone: for a name below a package, `find_spec` would import the package.
        spec = importlib.util.find_spec(top)  # looks for the package without executing it
    except ValueError:  # a module of this process that was not imported from a file
        spec = None
    for package in map(Path, (spec.submodule_search_locations or ()) if spec else ()):
        # An editable installation may map the name to another folder, which no folder of `sys.path` can express.
        if package.name == top and (folder := _folder(package.joinpath(*rest))):
            return _ModulePlace(package.parent, folder, package)
    if spec and spec.origin and not rest and (file := Path(spec.origin)).is_file() and file.name.startswith(f"{top}."):
        return _ModulePlace(file.parent, file.parent, file)
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
        data = read_regular(path, fragment_checks.MAX_BYTES)
    except FileNotFoundError:
        return fragment_checks.without_keys(kind, name)
    except OSError as error:
        raise BadFragment(f"cannot read {path}: {error.strerror}") from error
    try:
        return fragment_checks.read(kind, name, data)
    except BadFragment as error:
        raise BadFragment(f"{path}: {error}") from error
