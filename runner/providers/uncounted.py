"""Count the files that rsync may have replaced by directories without a count, because its run died.

When a run is killed, the files that rsync has named and deleted since the last count are missing in it. Each of them is
a directory now. So the directories that are newer than the start of that run are counted, up to the number by which
rsync can have been ahead. Only a run after one that died walks the directory for that.
"""

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from runner.plan.deletion_limits import Tree
from runner.plugin_api import Job
from runner.providers import deletion_judgement, deletion_record, making_way

_SKEW = 60.0
"""Seconds by which the clock of a file server may be behind ours."""


def count(job: Job) -> None:
    """Count these files as deleted, once, before this run changes anything."""
    files = _became_folders(job, most) if (most := _under_way(job)) else 0
    if files:
        job.kept[deletion_judgement.MADE_WAY] = True
        what = "a run died, and its rsync may have put directories in the place of up to"
        job.note(f"{what} {files} files; they count as deleted until the next success")
    deletion_record.count(job, Tree(files, 0))


def _under_way(job: Job) -> int:
    """Return the largest number of files that can have been deleted without a count."""
    if job.accepted is None or not job.accepted.files:
        return 0
    most = deletion_judgement.most(job)
    ahead = making_way.ahead_in(making_way.pipe_of(job, most))
    if most is None:
        return 0 if job.limits.size is None else ahead
    return max(0, min(ahead, most - job.past.deleted.files)) if most >= ahead else 0  # otherwise a trial had named them


def _became_folders(job: Job, most: int) -> int:
    """Return the number of files that may have become directories, at most `most`."""
    since = (job.past.uncounted_since or 0.0) - _SKEW
    if since > time.time():
        return most  # the clock was wrong, so times show nothing
    found, has_changed = 0, False
    for folder in _folders(job.directory, since, job.apart):
        if found >= most or folder.is_unknown or job.stopped():
            return most
        found += folder.is_new
        has_changed = has_changed or folder.has_changed
    # rsync may have been killed after it deleted a file and before it created the directory.
    return min(most, found + has_changed)


class _Folder(NamedTuple):
    """A folder as its times show it: whether it has changed, may be new, or has changed and cannot be read."""

    has_changed: bool
    is_new: bool = False
    is_unknown: bool = False


def _folders(root: str, since: float, apart: str | None) -> Iterator[_Folder]:
    """Yield the root and all folders below it; a folder with an older entry is not new."""
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        has_changed = True
        try:
            has_changed = os.stat(folder).st_ctime >= since
            with os.scandir(folder) as entries:
                inside = list(entries)
        except FileNotFoundError:  # removed during the walk
            continue
        except OSError:  # such as the file system's `lost+found`, which does not change
            yield _Folder(has_changed, is_unknown=has_changed)
            continue
        is_new = has_changed and folder != root and not any(_is_older(entry, since) for entry in inside)
        yield _Folder(has_changed, is_new)
        waiting += [entry.path for entry in inside if entry.is_dir(follow_symlinks=False) and entry.name != apart]


def _is_older(entry: os.DirEntry[str], since: float) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_ctime < since
    except OSError:  # removed during the walk
        return False
