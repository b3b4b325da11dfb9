"""Measuring a mirror's size on disk, where neither rsync nor a pattern tells it: in the background, at low priority.

A lean program of its own, started after such a run: a walk over millions of files must not keep a slot.
"""

import os
import time
from functools import partial

from runner import bell, journal, locks, plan, wishes
from runner.boundary import guarded
from runner.output import log
from runner.places import Places


def measure(places: Places, name: str) -> int:
    """Measure one mirror and record its size. Does nothing while it is being measured already."""
    os.nice(19)
    with plan.opened(places.plan) as opened:
        header, planned = opened.header, opened.mirror(name)
    with locks.Held(places.lock("measure", name)) as ours:
        if not ours or planned is None:
            return 0
        began = time.monotonic()
        size = size_on_disk(planned.paths.directory)
        with journal.opened(places.journal) as book:
            book.measured(name, size, time.time())
    bell.ring(header.run_dir)
    log(f"measured {size} bytes in {time.monotonic() - began:.1f} s", about=name)
    return 0


def measure_wanted(places: Places) -> int:
    """Measure all mirrors that runs have asked for, one after the other; gives 1 if any could not be measured."""
    worst = 0
    while names := wishes.open_ones(places, "measure"):
        for name in names:
            wishes.take(places, f"measure/{name}")
            worst = max(worst, guarded(partial(measure, places, name), places.state_dir))
    return worst


def size_on_disk(directory: str) -> int:
    """Bytes of all regular files below a directory, each inode once; links are not followed."""
    total = 0
    seen: set[tuple[int, int]] = set()
    folders = [directory]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
            else:
                total += _file_size(entry, seen)
    return total


def _file_size(entry: "os.DirEntry[str]", seen: set[tuple[int, int]]) -> int:
    try:
        if not entry.is_file(follow_symlinks=False):
            return 0
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return 0
    if found.st_nlink > 1:
        if (found.st_dev, found.st_ino) in seen:
            return 0
        seen.add((found.st_dev, found.st_ino))
    return found.st_size
