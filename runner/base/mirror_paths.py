"""A mirror's paths on this machine, from its definition and the machine's settings."""

import itertools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from schemas.mirror_record import Mirror

if TYPE_CHECKING:  # every run loads this module and needs none of these
    from schemas.records import Policy, RunnerSettings


class Paths(NamedTuple):
    """The paths of one mirror: its directory, the root that it must stay below, its logs, its published snapshot, and
    the directory that it had under a previous name, if that is known."""

    directory: str
    root: str
    log_dir: str
    snapshot: str = ""
    previous: str = ""


def paths_of(
    mirror: Mirror, settings: "RunnerSettings", policy: "Policy", real: Callable[[str], str] = os.path.realpath
) -> Paths:
    """Return the paths of a mirror, without checking whether the policy allows them.

    The root is the one above the directory: the worker's own, or one that the policy adds. `real` follows all links.
    """
    directory = os.path.normpath(
        mirror.mirror_dir or os.path.join(settings.mirror_root, mirror.mirror_subdir, mirror.name)
    )
    roots = (settings.mirror_root, *policy.mirror_roots)
    return Paths(
        directory,
        next((root for root in roots if lies_in(directory, root, real)), settings.mirror_root),
        os.path.normpath(mirror.log_dir or os.path.join(settings.log_dir, mirror.name)),
        os.path.normpath(mirror.snapshot_path or os.path.join(settings.snapshot_root, mirror.name)),
    )


def left_behind(mirror: Mirror, paths: Paths) -> str:
    """Return the directory of a previous name that has the mirror's files while its own has none; else empty.

    A mirror with a `mirror_dir` has its files there, whatever its name is.
    """
    if not mirror.formerly or mirror.mirror_dir is not None or has_files(paths.directory):
        return ""
    beside = [os.path.join(os.path.dirname(paths.directory), name) for name in mirror.formerly]
    return next((path for path in (paths.previous, *beside) if path and has_files(path)), "")


def moving(mirror: Mirror, old: str, directory: str) -> str:
    """Return the shell command that moves the files from where `left_behind` found them to `directory`."""
    if mirror.zpool:
        return f"zfs rename {mirror.zpool}/{os.path.basename(old)} {mirror.zpool}/{mirror.name}"
    import shlex  # seldom needed, and every run loads this module

    above = os.path.dirname(directory)
    first = "" if os.path.isdir(above) else f"mkdir -p {shlex.quote(above)} && "
    return f"{first}mv -T {shlex.quote(old)} {shlex.quote(directory)}"


def has_files(directory: str) -> bool:
    """Return whether a directory can be read and has an entry, even if that is an empty folder."""
    try:
        return _has_entries(directory)
    except OSError:
        return False


def is_missing_or_empty(directory: str) -> bool:
    """Return whether a directory is missing or holds no file; a new file system's `lost+found` does not count.

    Nor do empty folders: they can be mount points whose disks are missing. False for an unreadable directory, whose
    contents are unknown.
    """
    try:
        if not _has_entries(directory):
            return True
        with os.scandir(directory) as entries:
            if not all(entry.is_dir(follow_symlinks=False) for entry in entries):
                return False
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    from runner.base.contents import any_file  # hardly any directory has folders alone at its top

    return any_file(directory) is False


def in_the_way(directory: str) -> str:
    """Return the path of what is in the place of a directory or of a folder above it but is not one; else empty."""
    while not os.path.isdir(directory):
        if os.path.exists(directory):
            return directory
        directory = os.path.dirname(directory)
    return ""


def _has_entries(directory: str) -> bool:
    with os.scandir(directory) as entries:
        # Two names are enough to decide, and a mirror can have a hundred thousand at its top.
        names = [entry.name for entry in itertools.islice(entries, 2)]
    return bool(names) and (names != ["lost+found"] or not os.path.ismount(os.path.realpath(directory)))


def real_paths(directory: str, root: str) -> tuple[str, str]:
    """Return a directory and the root that it must stay below, with all links followed.

    If the directory's path has no link, the root at the start of that path has none either and is not looked up.
    """
    real = os.path.realpath(directory)
    is_plain = bool(root) and real == directory and directory.startswith(f"{root}/")
    return real, root if is_plain else os.path.realpath(root)


def lies_in(path: str, folder: str, real: Callable[[str], str] = os.path.realpath) -> bool:
    """Return whether a path is a folder or lies below it, with all links followed by `real`."""
    real_path, real_folder = real(path), real(folder)
    return os.path.commonpath([real_path, real_folder]) == real_folder


def lies_below(path: str, folder: str) -> bool:
    """Return whether a path lies below a folder and is not the folder itself, with all links followed."""
    return lies_in(path, folder) and os.path.realpath(path) != os.path.realpath(folder)


def is_below(real: str, real_folder: str) -> bool:
    """Return whether a path lies below a folder and is not the folder itself; both must be free of links."""
    return real != real_folder and is_within(real, real_folder)


def is_within(real: str, real_folder: str) -> bool:
    """Return whether a path is a folder or lies below it; both must be free of links."""
    return real == real_folder or real.startswith(real_folder.rstrip("/") + "/")
