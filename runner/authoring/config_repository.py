"""Where is the config repository, and where in it may a new definition go?"""

import os
from collections.abc import Iterable
from pathlib import Path

from schemas.config.catalogue import DEFAULTS, SITE
from schemas.config.sources import SourceFile
from schemas.config.yaml_file import parse
from schemas.errors import SkipjackError
from schemas.names import is_name
from schemas.problems import printable, shown

_NAME_RULE = "Use at most 64 letters, digits and `._-`, and begin with a letter or digit."


def find(named: Path | None) -> Path:
    """Return the folder with `_site.yml`: the one that is `named`, or else the current one or one above it.

    Raises SkipjackError if there is none.
    """
    if named is not None:
        if (named / SITE).is_file():
            return named.resolve()
        raise SkipjackError(f"{shown(str(named))} is not a config repository: it has no `{SITE}`.", _CREATE)
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / SITE).is_file():
            return folder
    below = sorted(path.parent.name for path in here.glob(f"[!.]*/{SITE}"))
    todo = f"Name it: `--repo {printable(below[0])}`." if below else f"Name it with `--repo`. {_CREATE}"
    raise SkipjackError(f"no config repository found: no `{SITE}` is here or in a folder above.", todo)


_CREATE = "`skipjack init` creates one."


def checked_name(name: str) -> str:
    """Return the name of a new mirror. Raises SkipjackError if it is not valid."""
    if not is_name(name):
        raise SkipjackError(f"`{shown(name)}` is not a valid name of a mirror.", _NAME_RULE)
    return name


def checked_folder(repository: Path, text: str) -> str:
    """Return a folder below the repository as a path with slashes, empty for the top one.

    A folder that exists may have any name that is not hidden. Raises SkipjackError for any other path.
    """
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if text.startswith("/") or ".." in parts or not text.isprintable():
        todo = "Name a folder below the repository, for example `--into distributions`."
        raise SkipjackError(f"the folder `{shown(text)}` is not inside the repository.", todo)
    for depth, part in enumerate(parts, 1):
        if part.startswith("."):
            what = f"the folder `{shown(text)}` is hidden: definitions in it are not read."
            raise SkipjackError(what, "Choose a name that does not begin with a dot.")
        if not (is_name(part) or os.path.isdir(repository.joinpath(*parts[:depth]))):
            raise SkipjackError(f"`{shown(part)}` is not a valid name of a new folder.", _NAME_RULE)
    return "/".join(parts)


def folder_of(category: str, sources: Iterable[SourceFile]) -> str:
    """Return the folder whose `_defaults.yml` sets a category, the outermost of several; else the top folder."""
    found = [
        source.path.removesuffix(f"/{DEFAULTS}")
        for source in sources
        if source.path.endswith(f"/{DEFAULTS}") and _category(source) == category
    ]
    return min(found, key=lambda folder: (folder.count("/"), folder), default="")


def _category(source: SourceFile) -> object:
    value = parse(source.data or b"", source.path).value
    return value.get("category") if isinstance(value, dict) else None
