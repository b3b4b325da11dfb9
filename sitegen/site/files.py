"""Putting the site's files in place: whole or not at all, and never outside the site's folder.

Everything happens relative to open directories and without following symbolic links, so whatever lies in the folder
cannot lead a write elsewhere.
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
"""Every page and JSON that we write has this word near its top; a file without it is not ours to remove."""

_MARK_WITHIN = 512
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755
"""For a web server to read, whatever the umask is."""

_CLOSED = 0o700
"""The mode of a folder that an earlier release made under a strict umask."""

_ASIDE = ".skipjack-new"
_WRITING = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
_TOGETHER = 200
"""Files that are made durable together; each is open until then."""

_BLOCK = 64 * 1024

_FOLDERS = ("assets", "mirrors", "static")
"""What is below the site's folder."""

_PASSING = frozenset({"meta.json"})
"""Files that are not synced: each publishing writes them anew, the publisher's first one after a power cut as well."""


def require_writable(site_dir: str) -> None:
    """SkipjackError when nothing could ever be written to the site's folder, or be made where it shall be.

    A full disk is no reason: it may have room later.
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
    """Put files (`folder/name` or `name` → content) in place; returns how many had to change.

    `check` is called right before files are swapped in, and prevents it by an exception.

    SkipjackError when that fails (a full disk); every file is then either the old or the new one.
    """
    changed = 0
    with _folder(site_dir) as root:
        # folders first, so that an overview never links to a page that is not there yet
        for folder in sorted({path.rpartition("/")[0] for path in files}, reverse=True):
            with _subfolder(root, folder, site_dir) as place, _explained(f"{site_dir}/{folder}"):
                here = {path.rpartition("/")[2]: files[path] for path in files if path.rpartition("/")[0] == folder}
                changed += _put(place, here, check)
    return changed


def remove_others(site_dir: str, folder: str, keep: Iterable[str]) -> int:
    """Remove what we once wrote into a folder and what is not to be kept; returns how many files."""
    where = f"{site_dir}/{folder}"
    with _folder(site_dir) as root, _subfolder(root, folder, site_dir) as place, _explained(where):
        with os.scandir(place) as entries:
            others = {entry.name for entry in entries} - set(keep)
        others = {name for name in others if _is_ours(place, name)}
        for name in others:
            os.unlink(name, dir_fd=place)
    return len(others)


@contextmanager
def _folder(path: str) -> Iterator[int]:
    """Open the site's folder itself, which may be a symbolic link: the operator's settings name it."""
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
        f"The folder {path} cannot be written to: {error.strerror}.",
        remedy(error.errno) or "Give the publisher a real folder of its own that it may write to.",
    )


def _put(place: int, files: Mapping[str, bytes], check: Callable[[], None]) -> int:
    """Write files aside, make them durable, and rename them; those that are the same already stay untouched."""
    changed = [(name, content) for name, content in files.items() if not _is(place, name, content)]
    for start in range(0, len(changed), _TOGETHER):
        _swap_in(place, dict(changed[start : start + _TOGETHER]), check)
    if changed:
        os.fsync(place)
    return len(changed)


def _swap_in(place: int, files: Mapping[str, bytes], check: Callable[[], None]) -> None:
    """Put a few files in place. All are on their way to the disk before the first is waited for."""
    handles: dict[str, int] = {}
    try:
        for name, content in files.items():
            handles[name] = os.open(_aside(name), _WRITING, _FILE_MODE, dir_fd=place)
            os.fchmod(handles[name], _FILE_MODE)
            _write(handles[name], content)
            os.posix_fadvise(handles[name], 0, 0, os.POSIX_FADV_DONTNEED)  # starts the writing
        for name in handles.keys() - _PASSING:
            os.fsync(handles[name])
        check()
        for name in files:
            os.rename(_aside(name), name, src_dir_fd=place, dst_dir_fd=place)
    except BaseException:
        for name in handles:
            _discard(place, _aside(name))
        raise
    finally:
        for handle in handles.values():
            os.close(handle)


def _make(folder: Path) -> None:
    """Create a folder, and those above it that are missing, for a web server to read, whatever the umask is."""
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
        left = left[os.write(handle, left) :]


def _aside(name: str) -> str:
    return f"{_ASIDE}-{name}"


def _discard(place: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=place)
    except FileNotFoundError:
        return


def _is(place: int, name: str, content: bytes) -> bool:
    """Whether a regular file with this content is there already; reads no further than to the first difference."""
    with _opened(place, name) as opened:
        if opened is None or opened[1].st_size != len(content):
            return False
        handle, found = opened
        if found.st_mode & _FILE_MODE != _FILE_MODE:
            return False  # written under a strict umask
        blocks = (content[start : start + _BLOCK] for start in range(0, len(content), _BLOCK))
        return all(os.read(handle, _BLOCK) == block for block in blocks)


def _is_ours(place: int, name: str) -> bool:
    with _opened(place, name) as opened:
        return name.startswith(_ASIDE) or (opened is not None and MARK in os.read(opened[0], _MARK_WITHIN))


@contextmanager
def _opened(place: int, name: str) -> Iterator[tuple[int, os.stat_result] | None]:
    """A regular file for reading, and its status; None when there is none (a symbolic link is none)."""
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
