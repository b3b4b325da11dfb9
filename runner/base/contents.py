"""Count the files and bytes of a directory in one walk.

Everything that is not a directory counts as a file, including links and devices. Links are not followed. A folder that
disappears during the walk counts as empty. Unreadable folders are counted, except a file system's `lost+found`.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

PARTIAL = ".~tmp~"
"""The folders in which rsync keeps partial files, which are not part of the mirror yet."""

HIGHEST = 2**62
"""Limit of a byte count: sparse files can add up to more than SQLite's 64-bit integers hold."""

MOST_LINKED = 500_000
"""Limit of hard-linked files that `Links` tracks (about 50 MB). Beyond it, bytes count as lost once for each name."""


class Contents(NamedTuple):
    """The number of files, the bytes of all regular files by name, and the bytes with each inode counted once.

    Bytes are file lengths: allocated blocks depend on the file system, and on some also on when a file was written.
    `unreadable` is the number of folders whose files could not be counted.
    """

    files: int = 0
    bytes: int = 0
    on_disk: int = 0
    unreadable: int = 0


class Links:
    """Hard-linked files of which some names are deleted; `kept` are the bytes of files that keep another name.

    Only a name that remains in the directory preserves a file there. Names outside, such as in a snapshot made of hard
    links, do not count. The link count alone cannot separate these, so `see` counts the names inside during a walk
    that happens anyway.
    """

    def __init__(self, most: int = MOST_LINKED) -> None:
        self._most = most
        self._going: dict[int, int] = {}
        self.kept = 0

    def __bool__(self) -> bool:
        """Return whether some of the files may keep a name."""
        return bool(self._going)

    def go(self, found: os.stat_result) -> int:
        """Record a name that is deleted; return the bytes lost with it, unless `see` finds a name that remains."""
        if found.st_nlink < 2:
            return found.st_size
        key = inode_of(found)
        names = self._going.pop(key, 0) + 1
        # A file whose names all go is lost, so the walk need not look for it. Beyond the limit each further name counts
        # as a new file.
        if names < found.st_nlink and len(self._going) < self._most:
            self._going[key] = names
        return found.st_size if names == 1 else 0

    def see(self, found: os.stat_result) -> None:
        """Record a name found in the directory before the deletion; call it for each name of each hard-linked file."""
        key = inode_of(found)
        names = self._going.get(key)
        if names is None:
            return
        # The walk also meets the names that go, since they are deleted after it: one name more than those is kept.
        if names:
            self._going[key] = names - 1
        else:
            del self._going[key]
            self.kept += found.st_size

    def lost(self) -> list[int]:
        """Return the identities of files that lose all names inside, although others exist elsewhere.

        Call it after `see` got all names.
        """
        return list(self._going)


def inode_of(found: os.stat_result) -> int:
    """Return a number that identifies a file, whatever its names."""
    return found.st_dev << 64 | found.st_ino


class _Inodes:
    """The inodes seen so far, in bitmaps of 64: a hard-linked mirror has millions with numbers close to each other."""

    def __init__(self) -> None:
        self._groups: dict[int, int] = {}

    def add(self, found: os.stat_result) -> bool:
        """Add an inode; return whether it is new."""
        group, place = divmod(inode_of(found), 64)
        seen = self._groups.get(group, 0)
        self._groups[group] = seen | 1 << place
        return not seen >> place & 1


class Stopped(Exception):  # noqa: N818 - what happened, not an error
    """The walk was cancelled because the run must stop."""


def count(
    directory: str,
    stopped: Callable[[], bool] = lambda: False,
    ignored: Collection[str] = frozenset(),
    apart: str | None = None,
    linked: Callable[[os.stat_result], None] | None = None,
    sizes: bool = True,
) -> Contents:
    """Count what a directory holds, without the `ignored` paths and folders called `apart`.

    `linked` is called for each name of each hard-linked file. Without `sizes` the bytes are 0 and no hard link is seen:
    a folder names its files, but only a system call for each of them returns its size, which costs three times as much.
    Raises Stopped soon after `stopped` returns true.
    """
    files = size = on_disk = 0
    inodes = _Inodes()
    unreadable: list[str] = []
    for entries in _folders(directory, ignored, unreadable, apart):
        if stopped():
            raise Stopped
        files += len(entries)
        for entry in entries if sizes else ():
            found = _regular(entry)
            if found is None:
                continue
            size += found.st_size
            if found.st_nlink > 1:
                if linked is not None:
                    linked(found)
                if not inodes.add(found):
                    continue
            on_disk += found.st_size
    return Contents(files, min(size, HIGHEST), min(on_disk, HIGHEST), len(unreadable))


def any_file(directory: str, ignored: Collection[str] = frozenset()) -> bool | None:
    """Return whether a directory holds a file that is not `ignored`; stops at the first one.

    None if no file was found but some folders cannot be read.
    """
    unreadable: list[str] = []
    if any(_folders(directory, ignored, unreadable)):
        return True
    return None if unreadable else False


def _folders(
    directory: str, ignored: Collection[str], unreadable: list[str], apart: str | None = None
) -> Iterator[list["os.DirEntry[str]"]]:
    """Yield the files of each folder in no particular order; add unreadable folders to `unreadable`."""
    lost_and_found = os.path.join(directory, "lost+found")
    waiting = [directory]
    while waiting:
        folder = waiting.pop()
        try:
            # Read to its end and closed before its subfolders: a deep tree must not use up the descriptors.
            with os.scandir(folder) as scanned:
                entries = list(scanned)
        except (FileNotFoundError, NotADirectoryError):  # removed or replaced since its name was read
            continue
        except OSError:  # of another user, or damaged
            if folder != lost_and_found:
                unreadable.append(folder)
            continue
        files = []
        for entry in entries:
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
            except OSError:
                # A file system that does not store types in folders needs a stat for that, which can fail. The entry
                # then counts as a file.
                is_folder = False
            if not is_folder:
                files.append(entry)
            elif entry.name != apart:
                waiting.append(entry.path)
        yield [each for each in files if each.path not in ignored] if ignored else files


def _regular(entry: "os.DirEntry[str]") -> os.stat_result | None:
    """Return the status of a regular file; None for everything else."""
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:  # removed since its name was read
        return None
    return found if stat.S_ISREG(found.st_mode) else None
