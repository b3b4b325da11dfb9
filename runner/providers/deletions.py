"""Delete named items below a mirror's directory, and nothing else.

Every step uses a descriptor of the folder above, opened without following a link, so that no name leads out of the
mirror. The times of folders are restored, since they are the upstream's.
"""

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterable
from typing import NamedTuple

from runner.base.contents import MOST_LINKED, Links, inode_of
from runner.plan.deletion_limits import Tree
from runner.providers import rsync_words
from runner.providers.deletion_names import Item
from schemas.mirror_record import Mirror

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STOP_EVERY = 256  # items between two checks for a stop signal
_ENOUGH = 100
"""Failures after which the rest is left to the next run."""

_UNFINISHED = b".~tmp~"
"""The folders in which `--delay-updates` collects files; those that an earlier run left there were never served."""

_TEMPORARY = rb"\.(.+)\.[A-Za-z0-9]{6}"
"""A file that rsync is writing: `.NAME.XXXXXX`, which only its user may read."""

_NO_NAMES = frozenset({b"", b".", b".."})

_GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
"""Errors of items that were removed or replaced since rsync named them."""


class Interrupted(Exception):  # noqa: N818 - an outcome, not an error
    """The run received a stop signal."""


class Outside(Exception):  # noqa: N818 - a property of a name, not an error
    """A name that leads out of the mirror."""


class Failure(NamedTuple):
    """An item that could not be deleted, and why."""

    path: bytes
    reason: str


class Folders:
    """Opens folders below a root, one at a time; the times of a folder are restored when the next one is entered."""

    def __init__(self, root: str) -> None:
        # The mirror's own directory may be a link, whose target was checked before the run.
        self._root = os.open(os.path.realpath(root), _FOLDER)
        self._path: bytes | None = None
        self._current = -1
        self._before: os.stat_result | None = None
        self._mode: int | None = None

    def __enter__(self) -> "Folders":
        return self

    def __exit__(self, *_exception: object) -> None:
        self._leave()
        os.close(self._root)

    def enter(self, path: bytes) -> int:
        """Return a descriptor of a folder, `b""` for the root; OSError if its path has a link or a file."""
        if path != self._path:
            self._leave()
            self._current = self._opened(path)
            self._path = path
        return self._current

    def _opened(self, path: bytes) -> int:
        """Open each folder of a path in turn: O_NOFOLLOW applies only to the last part of a path."""
        current = self._root
        for name in path.split(b"/") if path else ():
            try:
                below = os.open(name, _FOLDER, dir_fd=current)
            finally:
                if current != self._root:
                    os.close(current)
            current = below
        return os.dup(current) if current == self._root else current

    def changes(self) -> None:
        """Store the times of the current folder before it is changed."""
        if self._before is None:
            self._before = os.fstat(self._current)

    def make_writable(self) -> bool:
        """Make the current folder writable until it is left, as rsync does; return False if that cannot help."""
        self.changes()
        found = os.fstat(self._current)
        if self._mode is not None or found.st_uid != os.geteuid() or found.st_mode & stat.S_IWUSR:
            return False
        self._mode = stat.S_IMODE(found.st_mode)
        os.fchmod(self._current, self._mode | stat.S_IWUSR)
        return True

    def _leave(self) -> None:
        if self._path is None:
            return
        with contextlib.suppress(OSError):  # the next sync sets the mode again
            if self._mode is not None:
                os.fchmod(self._current, self._mode)
        with contextlib.suppress(OSError):  # a folder of another user, whose time rsync cannot set either
            if self._before is not None:
                os.utime(self._current, ns=(self._before.st_atime_ns, self._before.st_mtime_ns))
        os.close(self._current)
        self._path = self._before = self._mode = None


def checked(path: bytes) -> tuple[bytes, bytes]:
    """Return the folder and the name of a path; raises Outside for one that is not below the root."""
    parts = path.split(b"/")
    if not path or b"\0" in path or not _NO_NAMES.isdisjoint(parts):
        raise Outside(path)
    folder, _slash, name = path.rpartition(b"/")
    return folder, name


def behind_links(root: str) -> Callable[[bytes], bytes]:
    """Return a function for the place of an item in whose path rsync follows links to folders (`--keep-dirlinks`).

    A place that is not below the root has a part `..` or `.`, which `checked` rejects.
    """
    top = os.fsencode(os.path.realpath(root))

    def place(path: bytes) -> bytes:
        folder, slash, name = path.rpartition(b"/")
        real = os.path.realpath(os.path.join(top, folder))
        return os.path.join(os.path.relpath(real, top), name) if slash and real != os.path.join(top, folder) else path

    return place


Times = list[tuple[bytes, tuple[int, int]]]
"""Folders with their access and modification times, in nanoseconds since 1970 UTC."""


def times_above(root: str, paths: Iterable[bytes]) -> Times:
    """Return the times of the folders that contain some items."""
    found: Times = []
    with Folders(root) as opened:
        for folder in sorted({path.rpartition(b"/")[0] for path in paths}):
            with contextlib.suppress(OSError):  # it is gone, or a link is in its path
                before = os.fstat(opened.enter(folder))
                found.append((folder, (before.st_atime_ns, before.st_mtime_ns)))
    return found


def set_times(root: str, times: Times) -> None:
    """Restore the times of folders."""
    with Folders(root) as opened:
        for folder, found in times:
            with contextlib.suppress(OSError):
                os.utime(opened.enter(folder), ns=found)


class Exempt(NamedTuple):
    """Files that count for no limit: paths that Skipjack itself creates and, if `partials`, contents of `.~tmp~`."""

    own: frozenset[bytes] = frozenset()
    partials: bool = True

    def has(self, path: bytes, folder: bytes) -> bool:
        """Return whether a file in this folder counts for no limit."""
        return path in self.own or (self.partials and _UNFINISHED in folder.split(b"/"))


def exempt(mirror: Mirror) -> Exempt:
    """Return the files of a mirror that count for no limit: those of the trace hook, and rsync's partial files."""
    own = frozenset([os.fsencode(path.rstrip("/")) for path in rsync_words.traces(mirror)])
    return Exempt(own, rsync_words.keeps_partials_apart(mirror))


class Measured(NamedTuple):
    """The items to delete: files with their bytes, folders, and the number of deletions that rsync must have skipped.

    `obstacles` are directories in the place of another type at the upstream that rsync did not remove. `made_way` are
    files that rsync itself replaced by directories. `links` are files with several names.
    """

    lost: Tree
    folders: int
    limit_hits: int
    obstacles: int
    made_way: int
    links: Links

    def without_kept(self) -> "Measured":
        """Return the same without bytes that other names in the mirror keep, after `links` has seen all names."""
        return self._replace(lost=Tree(self.lost.files, max(0, self.lost.size - self.links.kept)))


def measure(
    root: str, items: Iterable[Item], exempt: Exempt, stopped: Callable[[], bool], success_at: float | None = None
) -> Measured:
    """Count the items without changing anything. A file with several names counts its bytes once.

    `success_at` is the end of the last success, in seconds since 1970 UTC; see `_is_leftover`. Raises Interrupted, and
    Outside for a name that leads out of the mirror.
    """
    files = folders = size = hits = obstacles = made_way = 0
    links = Links()
    with Folders(root) as opened:
        for number, item in enumerate(items):
            if number % _STOP_EVERY == 0 and stopped():
                raise Interrupted
            folder, name = checked(item.path)
            if item.is_folder:
                folders += not item.obstacle and item.path not in exempt.own
                obstacles += item.obstacle and not _is_replaced(opened, folder, name)
                hits += item.nested or (not item.obstacle and _is_empty(opened, item.path))
            elif item.obstacle:
                made_way += item.for_folder and not exempt.has(item.path, folder)
            else:
                hits += 1
                if exempt.has(item.path, folder):
                    continue
                status = _status(opened, folder, name)
                if not _is_leftover(opened, folder, name, status, success_at):
                    files += 1
                    size += _size(status, links)
    return Measured(Tree(files, size), folders, hits, obstacles, made_way, links)


def remaining(
    root: str, items: Iterable[Item], exempt: Exempt, lost: set[int], success_at: float | None = None
) -> Tree:
    """Return the files that `measure` counted and that still exist; none if the root cannot be read.

    `lost` are the identities of files that count as lost although they have names elsewhere.
    """
    files = size = 0
    links: dict[int, int] = {}
    with contextlib.suppress(OSError), Folders(root) as opened:
        for item in items:
            folder, _slash, name = item.path.rpartition(b"/")
            if item.is_folder or item.obstacle or exempt.has(item.path, folder):
                continue
            status = _status(opened, folder, name)
            if _is_leftover(opened, folder, name, status, success_at):
                continue
            if status is not None and not stat.S_ISDIR(status.st_mode):
                files += 1
                size += _size_left(status, lost, links)
    return Tree(files, size)


def _is_replaced(opened: Folders, folder: bytes, name: bytes) -> bool:
    """Return whether rsync itself has replaced a directory, which was empty, by another type."""
    try:
        return not stat.S_ISDIR(os.lstat(name, dir_fd=opened.enter(folder)).st_mode)
    except OSError:
        return False


def _is_empty(opened: Folders, path: bytes) -> bool:
    try:
        with os.scandir(opened.enter(path)) as entries:
            return next(entries, None) is None
    except OSError:
        return False


def free_places(root: str, paths: Iterable[bytes]) -> list[bytes]:
    """Return the paths that do not exist but whose folders do.

    For another path rsync would create its folders first, and delete a file in the place of one.
    """
    found = []
    with Folders(root) as opened:
        for path in paths:
            folder, _slash, name = path.rpartition(b"/")
            try:
                descriptor = opened.enter(folder)
            except OSError:
                continue
            try:
                os.lstat(name, dir_fd=descriptor)
            except OSError:
                found.append(path)
    return found


def _status(opened: Folders, folder: bytes, name: bytes) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=opened.enter(folder))
    except OSError:
        return None


def _is_leftover(
    opened: Folders, folder: bytes, name: bytes, found: os.stat_result | None, success_at: float | None
) -> bool:
    """Return whether a file was left by a killed rsync: then it does not belong to the mirror, and counts for no limit.

    Such a file is beside the one that it would have replaced, only our own user may read it, and it was written after
    the last success, which would have removed it. A file of the upstream has the upstream's time.
    """
    match = re.fullmatch(_TEMPORARY, name) if name.startswith(b".") else None  # most names do not
    if match is None or found is None or not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
        return False
    if found.st_uid != os.geteuid() or found.st_nlink > 1 or found.st_mtime < (success_at or 0):
        return False
    base = match.group(1)  # rsync adds no second dot to a name that begins with one
    return any(_status(opened, folder, each) is not None for each in (base, b"." + base))


def _size(found: os.stat_result | None, links: Links) -> int:
    return 0 if found is None or not stat.S_ISREG(found.st_mode) else links.go(found)


def _size_left(found: os.stat_result, lost: set[int], links: dict[int, int]) -> int:
    """Return the bytes that `measure` counted for an existing name; for a file with several names once, if at all."""
    if not stat.S_ISREG(found.st_mode):
        return 0
    key = inode_of(found)
    if key in lost:
        lost.remove(key)
        return found.st_size
    left = links.pop(key, found.st_nlink) - 1
    if left and len(links) < MOST_LINKED:
        links[key] = left
    return 0 if left else found.st_size


def delete(root: str, items: Iterable[Item], stopped: Callable[[], bool]) -> list[Failure]:
    """Delete the items, files first and then folders from the innermost outwards; return those that failed.

    Items that no longer exist, have another type now, or are not empty are left alone. Call `measure` first: it checks
    the names.
    """
    failures: list[Failure] = []
    folders: list[bytes] = []
    with Folders(root) as opened:
        for number, item in enumerate(items):
            if number % _STOP_EVERY == 0 and stopped():
                raise Interrupted
            if len(failures) >= _ENOUGH:
                return failures
            if item.is_folder:
                folders.append(item.path)
            elif not item.obstacle:
                _remove(opened, item.path, os.unlink, failures)
        for number, path in enumerate(sorted(folders, reverse=True)):  # a folder sorts before everything in it
            if number % _STOP_EVERY == 0 and stopped():
                raise Interrupted
            _remove(opened, path, os.rmdir, failures)
    return failures


def _remove(opened: Folders, path: bytes, remove: Callable[..., None], failures: list[Failure]) -> None:
    folder, _slash, name = path.rpartition(b"/")
    try:
        descriptor = opened.enter(folder)
        opened.changes()
        try:
            remove(name, dir_fd=descriptor)
        except PermissionError:
            if not opened.make_writable():
                raise
            remove(name, dir_fd=descriptor)
    except _GONE:
        return
    except OSError as error:
        if not _is_left_on_purpose(error, remove):
            failures.append(Failure(path, error.strerror or str(error)))


def _is_left_on_purpose(error: OSError, remove: Callable[..., None]) -> bool:
    """Return whether a folder is not empty, because rsync's filters protect a file in it, or a link is in its place."""
    import errno

    return error.errno == errno.ELOOP or (remove is os.rmdir and error.errno in (errno.ENOTEMPTY, errno.EEXIST))
