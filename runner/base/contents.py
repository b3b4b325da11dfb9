"""What a directory holds, found by walking it once: files, their bytes, and the room that they take up.

Everything but a directory is a file: links and devices, too. Links are not followed. A folder that vanishes meanwhile
counts as empty. One that cannot be read is counted as such, but for the `lost+found` of a file system.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

PARTIAL = ".~tmp~"
"""The folders in which rsync keeps parts of files, which are no files of a mirror yet."""

HIGHEST = 2**62
"""Bytes that are counted at most: files with holes may claim more together than the journal can hold."""

MOST_LINKED = 500_000
"""Files that `Links` watches at most, in about 50 MB. Of more, bytes count as lost, and with each of their names."""


class Contents(NamedTuple):
    """The number of files, the bytes of all regular ones by name, and those bytes with each inode counted once.

    They are the files' lengths. Blocks would depend on the file system, and on some of them on when a file was written.
    `unreadable` is the number of folders whose files could not be counted.
    """

    files: int = 0
    bytes: int = 0
    on_disk: int = 0
    unreadable: int = 0


class Links:
    """Files with several names in a directory, of which some go; `kept` are the bytes of those that a name keeps.

    Only a name that stays in the directory keeps a file's bytes for it. Names outside, such as those of a snapshot that
    is made of hard links, keep nothing: the number of links alone does not tell these apart, so the names inside are
    counted while the directory is walked anyway.
    """

    def __init__(self, most: int = MOST_LINKED) -> None:
        self._most = most
        self._going: dict[int, int] = {}
        self.kept = 0

    def __bool__(self) -> bool:
        """Whether there are files of which names may stay."""
        return bool(self._going)

    def go(self, found: os.stat_result) -> int:
        """Take a name that goes; return the bytes that are lost with it, unless `see` finds a name that stays."""
        if found.st_nlink < 2:
            return found.st_size
        key = inode_of(found)
        names = self._going.pop(key, 0) + 1
        if names < found.st_nlink and len(self._going) < self._most:
            self._going[key] = names
        return found.st_size if names == 1 else 0

    def see(self, found: os.stat_result) -> None:
        """Take a name that is in the directory before anything goes; call it for each name of each such file."""
        key = inode_of(found)
        names = self._going.get(key)
        if names is None:
            return
        if names:
            self._going[key] = names - 1
        else:
            del self._going[key]
            self.kept += found.st_size

    def lost(self) -> list[int]:
        """Return the identities of files that are lost although they have names elsewhere, once all names were seen."""
        return list(self._going)


def inode_of(found: os.stat_result) -> int:
    """Return a number that tells a file from all others, whatever its names."""
    return found.st_dev << 64 | found.st_ino


class _Inodes:
    """Those seen so far. A hard-linked mirror has millions, with numbers close to each other, so 64 are kept as one."""

    def __init__(self) -> None:
        self._groups: dict[int, int] = {}

    def add(self, found: os.stat_result) -> bool:
        """Keep an inode; return whether it is a new one."""
        group, place = divmod(inode_of(found), 64)
        seen = self._groups.get(group, 0)
        self._groups[group] = seen | 1 << place
        return not seen >> place & 1


class Stopped(Exception):  # noqa: N818 - what happened, not an error
    """The walk was given up since the run was told to stop."""


def count(
    directory: str,
    stopped: Callable[[], bool] = lambda: False,
    ignored: Collection[str] = frozenset(),
    apart: str | None = None,
    linked: Callable[[os.stat_result], None] | None = None,
) -> Contents:
    """Walk a directory once, past the `ignored` paths and folders with the name `apart`.

    `linked` is called for each name of each file that has several. Raises Stopped soon after `stopped` returns true.
    """
    files = size = on_disk = 0
    inodes = _Inodes()
    unreadable: list[str] = []
    for entries in _folders(directory, ignored, unreadable, apart):
        if stopped():
            raise Stopped
        files += len(entries)
        for entry in entries:
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
    """Whether there is a file below a directory, beside the `ignored` paths; ends at the first one.

    None when there seems to be none, but not every folder can be read.
    """
    unreadable: list[str] = []
    if any(_folders(directory, ignored, unreadable)):
        return True
    return None if unreadable else False


def _folders(
    directory: str, ignored: Collection[str], unreadable: list[str], apart: str | None = None
) -> Iterator[list["os.DirEntry[str]"]]:
    """The files of each folder, without order; folders that cannot be read are added to `unreadable`."""
    lost_and_found = os.path.join(directory, "lost+found")
    waiting = [directory]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as scanned:
                entries = list(scanned)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            if folder != lost_and_found:
                unreadable.append(folder)
            continue
        files = []
        for entry in entries:
            if _is_folder(entry):
                if entry.name != apart:
                    waiting.append(entry.path)
            elif not ignored or entry.path not in ignored:
                files.append(entry)
        yield files


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _regular(entry: "os.DirEntry[str]") -> os.stat_result | None:
    """The status of a regular file; None for everything else."""
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None
