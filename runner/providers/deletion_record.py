"""Count the files that runs have deleted since the last accepted success.

So several killed runs together delete no more than one run may. Before a run deletes files, it writes their names to a
file and counts them in the journal. If the run dies during the deletions, the count is too high: before rsync restores
any of these files, the next run subtracts those that still exist. If the names are lost, the count only stays too high.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from runner.plan.deletion_limits import Tree
from runner.plugin_api import Job
from runner.providers import deletions
from runner.providers.deletion_names import Item, Names, read_item
from schemas.regular_files import regular

_ROOM = 1 << 20  # bytes of names that are copied at once

UNNAMED = "unnamed"
"""The token of files that are counted without names, after their deletion."""


def begin(job: Job, names: Names, found: deletions.Measured) -> None:
    """Count files before they are deleted."""
    if found.lost.files <= 0:
        return
    token = os.urandom(16).hex()
    # The names first: a count without them could never be corrected.
    with contextlib.suppress(OSError):  # without the names all count as deleted if the run dies
        _write(job, token, found.links.lost(), lambda file: names.copy(file, _ROOM))
    count(job, found.lost, token)


def count_from_trial(job: Job, names: Iterable[bytes], found: deletions.Measured) -> None:
    """Count files, by their names as rsync prints them, before rsync itself deletes them."""
    token = os.urandom(16).hex()
    lines = (b"0 100644 %b\n" % name for name in names)
    with contextlib.suppress(OSError):  # as above: all of them count as deleted then
        _write(job, token, found.links.lost(), lambda file: file.writelines(lines))
    count(job, found.lost, token)


def count(job: Job, lost: Tree, token: str = "") -> None:
    """Count deleted files. Those of a token are subtracted again if they still exist after a killed run.

    After this no losses of killed runs are uncounted.
    """
    token = token or UNNAMED
    job.deleting(token, lost.files, lost.size)
    past = job.past
    job.past = past._replace(
        deleted_files=past.deleted_files + lost.files,
        deleted_bytes=past.deleted_bytes + lost.size,
        deleting=token,
        uncounted_since=None,
    )


def finish(job: Job) -> None:
    """Delete the file with the names after all deletions."""
    if job.past.deleting:
        with contextlib.suppress(OSError):  # the next deletion replaces the file
            os.unlink(_path(job))


def correct(job: Job) -> None:
    """Subtract the files that the last run counted and did not delete, if it was killed during its deletions.

    Such a run has no uncounted losses, since its rsync had ended, or a trial had named all files.
    """
    if job.past.deleting not in ("", UNNAMED):
        take_off(job, _left(job))


def take_off(job: Job, left: Tree) -> None:
    """Subtract files that were counted and still exist."""
    past = job.past
    job.deleted_less(past.deleting, left.files, left.size)
    job.past = past._replace(
        deleted_files=max(0, past.deleted_files - left.files),
        deleted_bytes=max(0, past.deleted_bytes - left.size),
        deleting="",
        uncounted_since=None,
    )


def _left(job: Job) -> Tree:
    """Return the files of the last deletion that still exist; none if their names are unknown."""
    for name in (job.mirror.name, *job.mirror.formerly):
        with contextlib.suppress(OSError, ValueError), open(_path(job, name), "rb", opener=regular) as file:
            # The names may be of an earlier deletion, if the disk was full when these were written.
            if file.readline() == b"%b\n" % job.past.deleting.encode():
                return _remaining(job, file)
    return Tree(0, 0)


def _remaining(job: Job, file: BinaryIO) -> Tree:
    lost: set[int] = set()
    while (line := file.readline()) and b" " not in line:
        lost.add(int(line))
    items = _items(itertools.chain([line], file))
    return deletions.remaining(job.directory, items, deletions.exempt(job.mirror), lost, job.past.success_at)


def _items(lines: Iterable[bytes]) -> Iterator[Item]:
    for line in lines:
        if line.endswith(b"\n"):  # otherwise the disk was full in the middle of this line
            yield read_item(line)


def _path(job: Job, name: str = "") -> str:
    return os.path.join(job.machine.state_dir or job.log_dir, f".deletions.{name or job.mirror.name}")


def _write(job: Job, token: str, lost: Iterable[int], copy: Callable[[BinaryIO], None]) -> None:
    """Write the token, the identities of files that are lost although they have names elsewhere, and the names."""
    aside = _path(job, f"~{job.mirror.name}")  # which no mirror can have as its name
    with open(regular(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(b"%b\n" % token.encode())
        file.writelines(b"%d\n" % each for each in lost)
        copy(file)
    # Not synced to disk: without the names the count is only too high.
    os.replace(aside, _path(job))
