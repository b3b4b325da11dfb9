"""Which folders and files of this machine belong to no mirror? Nothing here is changed, and no link is followed."""

import os
from collections.abc import Collection, Iterator

from runner.base import mounts
from runner.drift.items import DATA, LOGS, SNAPSHOT, Leftover
from runner.drift.known import Defined
from runner.hooks import btrfs, log_keeper
from schemas.names import is_name
from schemas.records import RunnerSettings


def identity_of(found: os.stat_result) -> str:
    """Return what identifies a file or folder; another one in its place, or a new entry in it, has another identity."""
    return f"{found.st_dev}:{found.st_ino}:{found.st_mtime_ns}"


def directories(settings: RunnerSettings, known: Defined, unread: list[str]) -> Iterator[Leftover]:
    """Yield the directories below `mirror_root` that no definition names.

    A folder above directories of mirrors is searched, such as one of a `mirror_subdir`; a mirror's own is not.
    """
    mounted = mounts.points()
    waiting = [os.path.realpath(settings.mirror_root)]
    while waiting:
        for entry in _folders_in(waiting.pop(), unread):
            if entry.path in known.above:
                waiting.append(entry.path)
            elif entry.path not in known.used and entry.name != "lost+found":
                kept = known.unsure or mounted_in(entry.path, mounted)
                yield _item(DATA, entry, "a directory that no definition names", kept)


def logs(settings: RunnerSettings, known: Defined, unread: list[str]) -> Iterator[Leftover]:
    """Yield the folders with logs of mirrors that are gone."""
    for entry in _folders_in(os.path.realpath(settings.log_dir), unread):
        if is_name(entry.name) and not _is_known(entry, known):
            others = others_than_logs(entry.path)
            kept = f"It has other files than logs, such as `{others}`: remove it by hand." if others else ""
            yield _item(LOGS, entry, "logs of a mirror that is gone", known.unsure or kept)


def snapshots(settings: RunnerSettings, known: Defined, unread: list[str]) -> Iterator[Leftover]:
    """Yield the read-only snapshots of mirrors that are gone, also those that were not published yet."""
    for entry in _folders_in(os.path.realpath(settings.snapshot_root), unread):
        name = entry.name.removeprefix(".").removesuffix(".new") if entry.name.startswith(".") else entry.name
        is_gone = is_name(name) and name not in known.names and entry.path not in known.used
        if is_gone and btrfs.is_read_only(entry.path):
            yield _item(SNAPSHOT, entry, "a Btrfs snapshot of a mirror that is gone", known.unsure)


def others_than_logs(folder: str) -> str:
    """Return the name of an entry that is not a log of a mirror; empty if there is none."""
    try:
        with os.scandir(folder) as entries:
            found = (
                each for each in entries if each.is_dir(follow_symlinks=False) or not log_keeper.is_own_file(each.name)
            )
            return next((each.name for each in found), "")
    except OSError as error:
        return str(error.strerror)


def mounted_in(path: str, points: Collection[str]) -> str:
    """Return why a directory cannot be removed if another file system is mounted on it or below it; else empty."""
    found = next((each for each in points if each == path or each.startswith(f"{path}/")), "")
    return f"Something is mounted at {found}: unmount it first, or destroy its dataset." if found else ""


def _is_known(entry: "os.DirEntry[str]", known: Defined) -> bool:
    return entry.name in known.names or entry.path in known.used or entry.path in known.above


def _folders_in(folder: str, unread: list[str]) -> list["os.DirEntry[str]"]:
    """Return the folders in a folder, sorted by name; one that cannot be read is added to `unread`."""
    try:
        with os.scandir(folder) as entries:
            found = [each for each in entries if each.is_dir(follow_symlinks=False)]
    except FileNotFoundError:  # no mirror has a snapshot yet
        return []
    except OSError as error:
        unread.append(f"cannot read {folder}: {error.strerror}.")
        return []
    return sorted(found, key=lambda each: each.name)


def _item(kind: str, entry: "os.DirEntry[str]", what: str, kept: str) -> Leftover:
    return Leftover(kind, entry.name, entry.path, identity_of(entry.stat(follow_symlinks=False)), what, kept)
