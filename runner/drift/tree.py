"""Remove a directory with everything in it: never through a link, never on another file system, never outside a root.

Each step works on an open folder, so that no program can put a link in the place of one in between.
"""

import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

_DEEPEST = 100
"""Folders inside one another that are open at once; deeper ones are moved up first."""

_AT_ONCE = 10_000
"""Entries of a folder that are read before these are removed."""

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotAsListed(Exception):  # noqa: N818 - what happened to the directory
    """The directory is another one than before; the message says how, as words after its path."""


def remove(path: str, root: str, identity: Callable[[os.stat_result], bool], removed: Callable[[], None]) -> None:
    """Remove the directory at a path below a root; both must have been free of links.

    `identity` returns whether it is still the same directory. `removed` is called for each file. Raises NotAsListed
    before anything is removed if it is another one, or when another file system is met; OSError if something cannot
    be removed. Files that were removed until then are gone.
    """
    with _opened_parent(path, root) as parent:
        name = os.path.basename(path)
        _require(identity(os.stat(name, dir_fd=parent, follow_symlinks=False)))
        top = _open(name, parent)
        try:
            found = os.fstat(top)
            _require(identity(found))
            _Removal(top, found.st_dev, removed).run()
        finally:
            os.close(top)
        os.rmdir(name, dir_fd=parent)


def _require(is_same: bool) -> None:
    if not is_same:
        raise NotAsListed("was changed or replaced meanwhile")


@contextmanager
def _opened_parent(path: str, root: str) -> Iterator[int]:
    """Open the folder that a path lies in, from the root down. Raises NotAsListed if a link is on the way."""
    below = os.path.relpath(os.path.dirname(path), root)
    if below.split("/")[0] == "..":
        raise NotAsListed(f"does not lie below {root}")
    folder = os.open(root, _FLAGS)
    try:
        for part in below.split("/") if below != "." else ():
            try:
                inner = os.open(part, _FLAGS, dir_fd=folder)
            except NotADirectoryError as error:
                raise NotAsListed(f"is reached through `{part}`, which is a link or a file by now") from error
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _open(name: str, parent: int) -> int:
    """Open a folder in a folder for reading; one that its owner may not write to is made writable first."""
    found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=parent)
        try:
            os.chmod(f"/proc/self/fd/{place}", found.st_mode & 0o7777 | stat.S_IRWXU)
        finally:
            os.close(place)
    try:
        return os.open(name, _FLAGS, dir_fd=parent)
    except NotADirectoryError as error:
        raise NotAsListed(f"has `{name}`, which is a link by now") from error


class _Removal:
    """The removal of what one open directory contains."""

    def __init__(self, top: int, device: int, removed: Callable[[], None]) -> None:
        self._top, self._device, self._removed = top, device, removed

    def run(self) -> None:
        """Remove everything, also what is moved up meanwhile."""
        self._empty(self._top, 1)

    def _empty(self, folder: int, depth: int) -> None:
        while entries := _some(folder):
            for entry in entries:
                self._remove(entry, folder, depth)

    def _remove(self, entry: "os.DirEntry[str]", folder: int, depth: int) -> None:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=folder)
            self._removed()
        elif depth >= _DEEPEST:
            # An interrupted removal may have left such names.
            aside = f".skipjack-prune-{time.time_ns()}"
            os.rename(entry.name, aside, src_dir_fd=folder, dst_dir_fd=self._top)
        else:
            self._remove_folder(entry.name, folder, depth)

    def _remove_folder(self, name: str, folder: int, depth: int) -> None:
        inner = _open(name, folder)
        try:
            if os.fstat(inner).st_dev != self._device:
                raise NotAsListed(f"has another file system at `{name}`")
            self._empty(inner, depth + 1)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=folder)


def _some(folder: int) -> list["os.DirEntry[str]"]:
    """Return entries of a folder: not all at once, since a mirror can have a million in one."""
    with os.scandir(folder) as found:
        return list(islice(found, _AT_ONCE))
