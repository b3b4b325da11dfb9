"""Which folders of mirrors lie in each other? Judged by definitions alone: only the machine knows its roots and links.

A path is in the form `/srv/mirror/debian/`. What lies below a root of the machine begins with the root's key instead,
such as `mirror_root/debian/`.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from schemas.records import Mirror

Pairs = Iterator[tuple[Mirror, Mirror]]
"""Pairs of mirrors on one worker: the folder of the first one collides with that of the second one."""


class _OwnedFolder(NamedTuple):
    """A folder of one mirror. Its path has NUL in the place of slashes, so that sorting keeps folders together."""

    worker: str
    path: str
    mirror: Mirror


def overlaps(mirrors: Sequence[Mirror]) -> Pairs:
    """Yield pairs (inner, outer) whose directories are nested: the outer mirror's sync would delete the inner one."""
    return _nested_or_equal(_places(mirrors, _directory))


def shared_snapshots(mirrors: Sequence[Mirror]) -> Pairs:
    """Yield pairs (inner, outer) whose snapshots have the same path or are nested."""
    return _nested_or_equal(_places(mirrors, _snapshot))


def shared_logs(mirrors: Sequence[Mirror]) -> Pairs:
    """Yield pairs (later, first) with the same `log_dir`, which can hold only one `latest`."""
    owners: dict[tuple[str, str], Mirror] = {}
    for place in _places(mirrors, _logs):
        owner = owners.setdefault((place.worker, place.path), place.mirror)
        if owner.name != place.mirror.name:
            yield place.mirror, owner


def snapshots_in_directories(mirrors: Sequence[Mirror]) -> Pairs:
    """Yield pairs (snapshot, directory): the sync of the directory's mirror, maybe the same one, would delete it."""
    return _inside(_places(mirrors, _own_snapshot), lambda: _places(mirrors, _own_directory))


def directories_in_snapshots(mirrors: Sequence[Mirror]) -> Pairs:
    """Yield pairs (directory, snapshot above it): publishing the snapshot would replace the directory."""
    snapshots = _places(mirrors, _own_snapshot)
    for inner, outer in _inside(_places(mirrors, _own_directory) if snapshots else [], lambda: snapshots):
        if _sortable(_own_directory(inner)) != _sortable(_own_snapshot(outer)):  # else the other rule reports the pair
            yield inner, outer


def logs_in_directories(mirrors: Sequence[Mirror]) -> Pairs:
    """Yield pairs (logs, directory): the sync of the directory's mirror, maybe the same one, would delete the logs."""
    return _inside(_places(mirrors, _logs), lambda: _places(mirrors, _own_directory))


def logs_in_snapshots(mirrors: Sequence[Mirror]) -> Pairs:
    """Yield pairs (logs, snapshot): a snapshot is read-only, and the next one replaces it."""
    return _inside(_places(mirrors, _logs), lambda: _places(mirrors, _own_snapshot))


def nested_if_similar(mirrors: Sequence[Mirror]) -> Pairs:
    """Yield pairs (inner, outer) whose directories are nested only if a file system takes similar names as equal."""
    for inner, outer in _nested_or_equal(_places(mirrors, lambda mirror: _folded(_directory(mirror)))):
        if not _sortable(_directory(inner)).startswith(_sortable(_directory(outer))):
            yield inner, outer


def _folded(path: str) -> str:
    """Return a path in lower case, with each letter in one form: `é` can be one character or two."""
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()


def volumes_in_directories(mirrors: Sequence[Mirror]) -> Pairs:
    """Yield pairs (container, directory): the container can write to the directory of another mirror."""
    volumes = [
        _OwnedFolder(mirror.worker, _sortable(volume.partition(":")[0]), mirror)
        for mirror in mirrors
        for volume in mirror.docker_volumes
        if volume.startswith("/") and not volume.endswith(":ro")
    ]
    for inner, outer in _inside(volumes, lambda: _places(mirrors, _own_directory)):
        if inner.name != outer.name:
            yield inner, outer


def in_previous_directories(mirrors: Sequence[Mirror]) -> Pairs:
    """Yield pairs (inner, renamed): the directory that the renamed mirror had would hold that of the other one."""
    renamed = [
        _OwnedFolder(mirror.worker, _sortable(_directory(mirror._replace(name=name))), mirror)
        for mirror in mirrors
        for name in mirror.formerly
        if mirror.mirror_dir is None
    ]
    return _inside(_places(mirrors, _directory) if renamed else [], lambda: renamed)


def perhaps_overlapping(mirrors: Sequence[Mirror], roots: Mapping[str, str]) -> Iterator[tuple[Mirror, Mirror, str]]:
    """Yield a mirror with `mirror_dir`, one without, and the `mirror_root` for which their directories are nested.

    `roots` has the `mirror_root` of each worker for which it is known.
    """
    for worker in {mirror.worker for mirror in mirrors if mirror.mirror_dir}:
        here = [mirror for mirror in mirrors if mirror.worker == worker]
        below = _BelowRoot([mirror for mirror in here if mirror.mirror_dir is None])
        for mirror in here:
            if mirror.mirror_dir is not None and (found := below.meeting(mirror, roots.get(worker, ""))):
                yield mirror, *found


class _BelowRoot:
    """The directories of mirrors below an unknown `mirror_root`, and the folders above them."""

    def __init__(self, mirrors: Sequence[Mirror]) -> None:
        self._whole = {_parts(_directory(mirror))[1:]: mirror for mirror in mirrors}
        self._above = {path[:end]: mirror for path, mirror in self._whole.items() for end in range(1, len(path))}
        self._lengths = {*map(len, self._whole)}

    def meeting(self, mirror: Mirror, root: str) -> tuple[Mirror, str] | None:
        """Return the first mirror whose directory may be that of another one, or in or around it; and the root.

        An empty `root` is unknown.
        """
        parts = _parts(mirror.mirror_dir or "")
        for start in range(1, len(parts)):
            rest = parts[start:]
            if root and parts[:start] != _parts(root):
                continue
            other = next((self._whole[rest[:end]] for end in self._lengths if rest[:end] in self._whole), None)
            other = other or self._above.get(rest)
            if other is not None and other.name != mirror.name:
                return other, "/" + "/".join(parts[:start])
        return None


def _parts(path: str) -> tuple[str, ...]:
    return tuple(filter(None, path.split("/")))


def directory_key(mirror: Mirror) -> PurePosixPath:
    """Return a mirror's directory; `mirror_root` stands for the root, which only the machine's settings know."""
    return PurePosixPath(_directory(mirror))


def _directory(mirror: Mirror) -> str:
    return mirror.mirror_dir or f"mirror_root/{mirror.mirror_subdir}/{mirror.name}"


def _own_directory(mirror: Mirror) -> str:
    return mirror.mirror_dir or ""


def _snapshot(mirror: Mirror) -> str:
    return (mirror.snapshot_path or f"snapshot_root/{mirror.name}") if mirror.btrfs_snapshot else ""


def _own_snapshot(mirror: Mirror) -> str:
    return (mirror.snapshot_path or "") if mirror.btrfs_snapshot else ""


def _logs(mirror: Mirror) -> str:
    return mirror.log_dir or ""


def _places(mirrors: Sequence[Mirror], path_of: Callable[[Mirror], str]) -> list[_OwnedFolder]:
    """Return the places of the mirrors that have one."""
    return [_OwnedFolder(mirror.worker, _sortable(path), mirror) for mirror in mirrors if (path := path_of(mirror))]


_SLASHES = re.compile("/+")


def _sortable(path: str) -> str:
    """Return a path that begins with those of all folders above it, and no other ones: it ends with NUL as well."""
    if "//" in path:
        path = _SLASHES.sub("/", path)
    return path.rstrip("/").replace("/", "\0") + "\0"


def _nested_or_equal(places: list[_OwnedFolder]) -> Pairs:
    """Yield each mirror whose place lies in another one, with the nearest above it; of equal ones the first has it."""
    above: list[_OwnedFolder] = []
    for place in sorted(places, key=_by_path):
        _leave(above, place)
        if above and above[-1].mirror.name != place.mirror.name:
            yield place.mirror, above[-1].mirror
        if not above or above[-1].path != place.path:
            above.append(place)


def _inside(inner: list[_OwnedFolder], outer: Callable[[], list[_OwnedFolder]]) -> Pairs:
    """Yield each mirror whose place is one of others or lies in it, with the nearest of them."""
    if not inner:  # nearly always
        return
    above: list[_OwnedFolder] = []
    outers = outer()
    known = set(map(id, outers))
    for place in sorted([*outers, *inner], key=_by_path):  # stable, so that of equal paths the outer one comes first
        _leave(above, place)
        if id(place) in known:
            above.append(place)
        elif above:
            yield place.mirror, above[-1].mirror


def _by_path(place: _OwnedFolder) -> tuple[str, str]:
    return place[:2]


def _leave(above: list[_OwnedFolder], place: _OwnedFolder) -> None:
    """Remove the places that a place does not lie in."""
    while above and not (above[-1].worker == place.worker and place.path.startswith(above[-1].path)):
        above.pop()
