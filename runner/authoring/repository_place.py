"""Where may a config repository be created, and where is its git repository?"""

import os
from collections.abc import Iterator
from typing import NamedTuple

from schemas.config.catalogue import SITE, WORKERS
from schemas.config.system_folders import is_system_folder
from schemas.errors import SkipjackError
from schemas.problems import printable


class RepositoryPlace(NamedTuple):
    """Where a config repository is: its folder, and the top of the git repository, or the same without one."""

    folder: str
    top: str
    has_git: bool

    @property
    def within(self) -> str:
        """The folder's path in the git repository; `.` for its top."""
        return os.path.relpath(self.folder, self.top)


def located(directory: str) -> RepositoryPlace:
    """Return the place of a folder, which need not exist. Raises SkipjackError if it cannot be used."""
    plain = os.path.abspath(directory)
    if os.path.islink(plain):
        what = f"{printable(directory)} is a symbolic link to {printable(os.path.realpath(plain))}."
        raise SkipjackError(what, "Name the folder itself.")
    if not os.path.isdir(existing(plain)):
        raise SkipjackError(f"{printable(existing(plain))} is not a folder.", "Name another folder.")
    folder = os.path.realpath(plain)
    if not folder.isprintable():  # it stands in scripts of the CI
        raise SkipjackError(f"the path {printable(folder)} has control characters.", "Rename the folder.")
    if is_system_folder(folder) or folder == os.path.realpath(os.path.expanduser("~")):
        what = f"{printable(folder)} is a folder of the system or a home directory."
        raise SkipjackError(what, "Name a folder in it, as in `skipjack init mirrors`.")
    return place_of(folder)


def place_of(folder: str) -> RepositoryPlace:
    """Return the place of a folder without links."""
    tops = (each for each in (folder, *_above(folder)) if os.path.lexists(os.path.join(each, ".git")))
    top = next(tops, None)
    return RepositoryPlace(folder, top or folder, top is not None)


def existing(path: str) -> str:
    """Return the path, or the nearest folder above it that exists."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _above(folder: str) -> Iterator[str]:
    while (folder := os.path.dirname(folder)) != "/":
        yield folder


def check_unused(place: RepositoryPlace) -> None:
    """Raise SkipjackError if the folder is a config repository, or a part of one."""
    if name := _mark(place.folder):
        what = f"{printable(place.folder)} already is a config repository: it has `{name}`."
        raise SkipjackError(what, "`skipjack init --update` renews its schemas.")
    above = _above(place.folder)
    if place.has_git:
        above = (each for each in above if os.path.commonpath((each, place.top)) == place.top)
    for folder in filter(_mark, above):
        what = f"{printable(place.folder)} is a folder of the config repository {printable(folder)}."
        raise SkipjackError(what, "Mirrors in any folder of it are read: add them there.")


def _mark(folder: str) -> str:
    """Return the name of a file that only a config repository has; empty if there is none."""
    return next((name for name in (SITE, WORKERS) if os.path.lexists(os.path.join(folder, name))), "")
