"""Where a mirror's things are on this machine, as its definition and the machine's settings have it."""

import itertools
import os
from typing import TYPE_CHECKING, NamedTuple

from schemas.mirror_record import Mirror

if TYPE_CHECKING:  # every run loads this module, and none needs these
    from schemas.records import Policy, RunnerSettings


class Paths(NamedTuple):
    """The paths of one mirror: its directory, the root that this must stay below, its logs, its published snapshot, and
    the directory that it is known to have had under a former name."""

    directory: str
    root: str
    log_dir: str
    snapshot: str = ""
    former: str = ""


def paths_of(mirror: Mirror, settings: "RunnerSettings", policy: "Policy") -> Paths:
    """The paths of a mirror; whether they are allowed is another question.

    The root is the one that the directory lies below: the worker's own, or one that the policy adds.
    """
    directory = os.path.normpath(
        mirror.mirror_dir or os.path.join(settings.mirror_root, mirror.mirror_subdir, mirror.name)
    )
    roots = (settings.mirror_root, *policy.mirror_roots)
    return Paths(
        directory,
        next((root for root in roots if lies_in(directory, root)), settings.mirror_root),
        os.path.normpath(mirror.log_dir or os.path.join(settings.log_dir, mirror.name)),
        os.path.normpath(mirror.snapshot_path or os.path.join(settings.snapshot_root, mirror.name)),
    )


def left_behind(mirror: Mirror, paths: Paths) -> str:
    """The directory of a former name that has the mirror's files while its own has none; empty when there is none such.

    A `mirror_dir` of its own is where the files are, whatever the mirror is called.
    """
    if not mirror.formerly or mirror.mirror_dir is not None or has_files(paths.directory):
        return ""
    beside = [os.path.join(os.path.dirname(paths.directory), name) for name in mirror.formerly]
    return next((path for path in (paths.former, *beside) if path and has_files(path)), "")


def moving(mirror: Mirror, old: str, directory: str) -> str:
    """The command that brings files from where `left_behind` found them to where they belong."""
    if mirror.zpool:
        return f"zfs rename {mirror.zpool}/{os.path.basename(old)} {mirror.zpool}/{mirror.name}"
    import shlex  # seldom needed, and every run loads this module

    above = os.path.dirname(directory)
    first = "" if os.path.isdir(above) else f"mkdir -p {shlex.quote(above)} && "
    return f"{first}mv -T {shlex.quote(old)} {shlex.quote(directory)}"


def has_files(directory: str) -> bool:
    """Whether there is anything in a directory that we can see, be it an empty folder."""
    try:
        return _has_entries(directory)
    except OSError:
        return False


def is_missing_or_empty(directory: str) -> bool:
    """Whether a directory is missing or holds no file; a new file system's `lost+found` alone is nothing.

    Empty folders are nothing either: they are left where the disks that were mounted on them are missing. False for
    a directory that cannot be read: nobody knows what is in there.
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


def _has_entries(directory: str) -> bool:
    with os.scandir(directory) as entries:
        names = [entry.name for entry in itertools.islice(entries, 2)]
    return bool(names) and (names != ["lost+found"] or not os.path.ismount(os.path.realpath(directory)))


def real_paths(directory: str, root: str) -> tuple[str, str]:
    """A directory and the root that it shall lie below, with all links followed.

    Where no link leads to the directory, none leads to the root that its path begins with: that is not looked up again.
    """
    real = os.path.realpath(directory)
    is_plain = bool(root) and real == directory and directory.startswith(f"{root}/")
    return real, root if is_plain else os.path.realpath(root)


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is a folder or something below it, wherever links lead."""
    real, real_folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([real, real_folder]) == real_folder


def lies_below(path: str, folder: str) -> bool:
    """Whether a path is something below a folder and not the folder itself, wherever links lead."""
    return lies_in(path, folder) and os.path.realpath(path) != os.path.realpath(folder)
