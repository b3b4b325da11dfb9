"""Replaces the site's files atomically, and never writes outside the site's folder.

All access is relative to open directories and follows no symbolic links, so nothing in the folder can redirect a write.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import SkipjackError
from schemas.failures import remedy

MARK = b"Skipjack"
"""Every page and JSON written here contains this word near its top. A file without it is never removed."""

_MARK_WITHIN = 512
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755
"""Readable for a web server, whatever the umask is."""

_CLOSED = 0o700
"""The mode of a folder that an earlier release created under a strict umask."""

# Fixed names, not random ones: the next publisher overwrites what a killed one has left.
_TEMPORARY = ".skipjack-new"
# O_NONBLOCK: opening a named pipe in the place of a file must fail instead of waiting for a reader.
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
_TOGETHER = 200
"""Files that are synced together. Each is open until then, so this is far below the usual limit of 1024 descriptors."""

_BLOCK = 64 * 1024

_FOLDERS = ("assets", "mirrors", "static")
"""The folders below the site's folder."""

_NOT_SYNCED = frozenset({"meta.json"})
"""Files without fsync: every publishing writes them, so also the first one after a power failure."""


def require_writable(site_dir: str) -> None:
    """Raise SkipjackError if the site's folder cannot be written to, or cannot be created.

    A full disk is not an error here: it may have room later.
    """
    place = Path(os.path.realpath(site_dir))
    while not os.path.lexists(place):
        place = place.parent
    for folder in (place, *(place / name for name in _FOLDERS)):
        if os.path.lexists(folder):
            _require_writable(folder)


def _require_writable(folder: Path) -> None:
    if not folder.is_dir():
        raise _unusable(str(folder), NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
    if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
        code = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
        raise _unusable(str(folder), OSError(code, os.strerror(code)))


def write(site_dir: str, files: Mapping[str, bytes], check: Callable[[], None] = lambda: None) -> int:
    """Write files (`folder/name` or `name` → content); return how many have changed.

    `check` is called right before files are renamed into place; an exception from it prevents that.

    Raises SkipjackError when writing fails (a full disk). Every file is then either the old or the new one.
    """
    changed = 0
    with _folder(site_dir) as root:
        # folders first, so that an overview never links to a page that does not exist yet
        for folder in sorted({path.rpartition("/")[0] for path in files}, reverse=True):
            with _subfolder(root, folder, site_dir) as place, _explained(f"{site_dir}/{folder}"):
                here = {path.rpartition("/")[2]: files[path] for path in files if path.rpartition("/")[0] == folder}
                changed += _put(place, here, check)
    return changed


def remove_others(site_dir: str, folder: str, keep: Iterable[str]) -> int:
    """Remove files of a folder that Skipjack wrote and that are not in `keep`; return how many."""
    where = f"{site_dir}/{folder}"
    with _folder(site_dir) as root, _subfolder(root, folder, site_dir) as place, _explained(where):
        with os.scandir(place) as entries:
            others = {entry.name for entry in entries} - set(keep)
        others = {name for name in others if _is_generated(place, name)}
        # Not synced: a file that a power failure brings back is removed at the next start.
        for name in others:
            os.unlink(name, dir_fd=place)
    return len(others)


@contextmanager
def _folder(path: str) -> Iterator[int]:
    """Open the site's folder. It may be a symbolic link, since the operator's settings name it."""
    try:
        _make(Path(path))
        place = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        yield place
    finally:
        os.close(place)


@contextmanager
def _subfolder(root: int, name: str, site_dir: str) -> Iterator[int]:
    if not name:
        yield root
        return
    try:
        # Looked up through the open folder, which a rename of its path cannot replace.
        is_new = not os.path.lexists(f"/proc/self/fd/{root}/{name}")
        if is_new:
            os.mkdir(name, dir_fd=root)
        place = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
        if is_new or stat.S_IMODE(os.fstat(place).st_mode) == _CLOSED:
            os.fchmod(place, _FOLDER_MODE)
    except OSError as error:
        raise _unusable(f"{site_dir}/{name}", error) from error
    try:
        yield place
    finally:
        os.close(place)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: str, error: OSError) -> SkipjackError:
    return SkipjackError(
        f"cannot write to the folder `{path}`: {error.strerror}.",
        remedy(error.errno) or "Give the publisher a folder of its own (not a symbolic link) that it may write to.",
    )


def _put(place: int, files: Mapping[str, bytes], check: Callable[[], None]) -> int:
    """Write files under temporary names, sync them, and rename them. Unchanged files are not touched."""
    changed = [(name, content) for name, content in files.items() if not _is(place, name, content)]
    for start in range(0, len(changed), _TOGETHER):
        _swap_in(place, dict(changed[start : start + _TOGETHER]), check)
    if changed:
        os.fsync(place)  # the renames must survive a power failure, as the contents do
    return len(changed)


def _swap_in(place: int, files: Mapping[str, bytes], check: Callable[[], None]) -> None:
    """Replace a few files. Writeback of all starts before the first fsync, so that the disk can order the writes."""
    handles: dict[str, int] = {}
    try:
        for name, content in files.items():
            handles[name] = os.open(_temporary(name), _WRITING, _FILE_MODE, dir_fd=place)
            # `open` applies the umask, and keeps the mode of a file that a killed publisher has left.
            os.fchmod(handles[name], _FILE_MODE)
            _write(handles[name], content)
            os.posix_fadvise(handles[name], 0, 0, os.POSIX_FADV_DONTNEED)  # starts writeback
        # Before the renames: otherwise a power failure could leave empty files under the final names.
        for name in handles.keys() - _NOT_SYNCED:
            os.fsync(handles[name])
        check()
        for name in files:
            os.rename(_temporary(name), name, src_dir_fd=place, dst_dir_fd=place)
    except BaseException:
        for name in handles:
            _discard(place, _temporary(name))
        raise
    finally:
        for handle in handles.values():
            os.close(handle)


def _make(folder: Path) -> None:
    """Create a folder and missing parents, readable for a web server whatever the umask is."""
    if folder.is_dir():
        return
    _make(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        folder.chmod(_FOLDER_MODE)


def _write(handle: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]  # a write may be short, as on a full disk


def _temporary(name: str) -> str:
    return f"{_TEMPORARY}-{name}"


def _discard(place: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=place)
    except FileNotFoundError:
        return


def _is(place: int, name: str, content: bytes) -> bool:
    """Whether a regular file with this content exists; reads only to the first difference."""
    with _opened(place, name) as opened:
        if opened is None or opened[1].st_size != len(content):
            return False
        handle, found = opened
        if found.st_mode & _FILE_MODE != _FILE_MODE:
            return False  # written under a strict umask
        blocks = (content[start : start + _BLOCK] for start in range(0, len(content), _BLOCK))
        return all(os.read(handle, _BLOCK) == block for block in blocks)


def _is_generated(place: int, name: str) -> bool:
    with _opened(place, name) as opened:
        return name.startswith(_TEMPORARY) or (opened is not None and MARK in os.read(opened[0], _MARK_WITHIN))


@contextmanager
def _opened(place: int, name: str) -> Iterator[tuple[int, os.stat_result] | None]:
    """Open a regular file for reading, with its status; None if there is none, or if it is a symbolic link."""
    try:
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
    except OSError:
        yield None
        return
    try:
        found = os.fstat(handle)
        yield (handle, found) if stat.S_ISREG(found.st_mode) else None
    finally:
        os.close(handle)
