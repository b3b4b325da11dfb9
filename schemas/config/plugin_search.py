"""Which plug-ins are installed here, and which keys do they have?

Entry points and schemas are read as files: no code of a plug-in runs. Only follow, `validate`, `plugins` and the
manager import this module, since it imports `importlib.metadata`.
"""

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import NamedTuple

from schemas import plugins
from schemas.config import fragments
from schemas.config.fragments import BadFragment, Fragment
from schemas.config.validation import schema
from schemas.plugins import HOOK, PROVIDER, Plugin
from schemas.problems import shown
from schemas.regular_files import read_regular

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
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
    """All plug-ins of this environment, sorted by kind and name, also those that cannot be used."""

    plugins: tuple[Found, ...] = ()

    @property
    def fragments(self) -> tuple[Fragment, ...]:
        """The keys of the plug-ins that can be used."""
        return tuple([found.fragment for found in self.plugins if found.fragment is not None])

    def find(self, kind: str, name: str) -> Found | None:
        """Return a plug-in, one that can be used if there is any; None if none has the name."""
        named = [found for found in self.plugins if (found.plugin.kind, found.plugin.name) == (kind, name)]
        return min(named, key=lambda found: bool(found.problem), default=None)


def installed() -> Installed:
    """Return the plug-ins of this environment. Raises nothing: what is wrong with a plug-in is its `problem`."""
    found = _once_each([_found(kind, entry) for kind, entry in _entry_points()])
    return Installed(tuple(sorted(found, key=lambda each: (each.plugin, each.distribution))))


def _entry_points() -> Iterator[tuple[str, importlib.metadata.EntryPoint]]:
    """Yield the entry points of providers and hooks.

    Only distributions whose list of entry points contains a group are looked at: parsing all of them takes long.
    """
    seen = set()
    for distribution in importlib.metadata.distributions():
        text = distribution.read_text("entry_points.txt") or ""
        if "skipjack." not in text or distribution.name in seen:
            continue
        seen.add(distribution.name)  # of two copies, Python imports the first one on `sys.path`
        for kind in (HOOK, PROVIDER):
            for entry in distribution.entry_points.select(group=plugins.GROUPS[kind]):
                yield kind, entry


def _found(kind: str, entry: importlib.metadata.EntryPoint) -> Found:
    distribution = entry.dist
    about = (distribution.name, distribution.version) if distribution else ("", "")
    plugin = Plugin(kind, entry.name, entry.value, "", about[1])
    try:
        _check_name(entry.name)
        path, folder = _place(entry.value)
        plugin = plugin._replace(path=str(path))
        return Found(plugin, about[0], _fragment(kind, entry.name, folder))
    except BadFragment as error:
        return Found(plugin, about[0], None, str(error))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadFragment(f"`{shown(name)}` is not a valid name: use up to 32 of `a-z0-9-`, and begin with a letter")
    if name in schema("mirror")["properties"]:
        raise BadFragment(f"`{name}` is a key of every mirror")


def _place(module: str) -> tuple[Path, Path]:
    """Return the folder for `sys.path` from which a module can be imported, and the folder of the module's files."""
    if not _MODULE.fullmatch(module):
        raise BadFragment(f"its entry point `{shown(module)}` is not the name of a module")
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)  # looks for the package without executing it
    for package in map(Path, (spec.submodule_search_locations or ()) if spec else ()):
        # An editable installation may map the name to another folder, which no folder of `sys.path` can express.
        if package.name == top and (folder := _folder(package.joinpath(*rest))):
            return package.parent, folder
    if spec and spec.origin and not rest and (file := Path(spec.origin)).is_file():
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
