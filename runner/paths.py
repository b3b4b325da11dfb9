"""Where a mirror's things are on this machine, as its definition and the machine's settings have it."""

import os
from typing import NamedTuple

from schemas.records import Mirror, Policy, RunnerSettings


class Paths(NamedTuple):
    """The paths of one mirror: its directory, the root that this must stay below, its logs, its published snapshot."""

    directory: str
    root: str
    log_dir: str
    snapshot: str = ""


def paths_of(mirror: Mirror, settings: RunnerSettings, policy: Policy) -> Paths:
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


def lies_in(path: str, folder: str) -> bool:
    """Whether a path is a folder or something below it, wherever links lead."""
    real, real_folder = os.path.realpath(path), os.path.realpath(folder)
    return os.path.commonpath([real, real_folder]) == real_folder


def lies_below(path: str, folder: str) -> bool:
    """Whether a path is something below a folder and not the folder itself, wherever links lead."""
    return lies_in(path, folder) and os.path.realpath(path) != os.path.realpath(folder)
