"""What does a judge of definitions see of a machine's files? Those of this machine, or none of another one."""

import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from runner.base import pattern_files
from runner.base.pattern_files import FileFault

_TRUSTED = frozenset({0})
"""Users whose links are followed, beside the worker's own: root."""

_MOST_LINKS = 40
"""Links in one path at most, as in the kernel."""


class FileView(NamedTuple):
    """The questions about a machine's files.

    `real` follows all links of a path, `trusted` only those of root and the worker's user. `faults` yields why a file
    may send more than its own patterns; the modifiers are those of the filter rule that merges it, or None. `is_here`
    says whether the accounts, variables and programs of this machine are those of the judged one.
    """

    real: Callable[[str], str]
    trusted: Callable[[str], str]
    is_link: Callable[[str], bool]
    is_other_than_file: Callable[[str], bool]
    faults: Callable[[str, str | None], Iterator[FileFault]]
    is_here: bool


def trusted_path(path: str) -> str:
    """Return the real path of an entry of the policy, for runs to compare with, which do not resolve it again.

    A link of a user other than root and the worker's is not followed: it may be one moment's link to a secret.
    """
    left, place, links = path.split("/")[::-1], "/", 0
    while left:
        name = left.pop()
        if name in ("", "."):
            continue
        if name == "..":
            place = os.path.dirname(place)
            continue
        target = _target(os.path.join(place, name))
        links += target is not None
        if target is None or links > _MOST_LINKS:
            place = os.path.join(place, name)
            continue
        place = "/" if target.startswith("/") else place
        left += target.split("/")[::-1]
    return place


def _target(path: str) -> str | None:
    """Return the target of a link that root or the worker's user has made; None for anything else."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        is_trusted = stat.S_ISLNK(found.st_mode) and found.st_uid in (*_TRUSTED, os.geteuid())
        return os.readlink("", dir_fd=descriptor) if is_trusted else None
    finally:
        os.close(descriptor)


def is_other_than_file(path: str) -> bool:
    """Return whether a path leads to something that is not a regular file, such as a folder, a device or a pipe."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def plain_path(path: str) -> str:
    """Return a path without `.`, `..` and repeated slashes, as its real path is where no part of it is a link.

    A relative one begins at `/`, in which systemd starts the worker's units.
    """
    return posixpath.normpath(f"/{path.lstrip('/')}")


MACHINE = FileView(os.path.realpath, trusted_path, os.path.islink, is_other_than_file, pattern_files.faults, True)
"""The files of this machine."""

ELSEWHERE = FileView(
    plain_path, plain_path, lambda _path: False, lambda _path: False, lambda _path, _rule: iter(()), False
)
"""The files of another machine, of which nothing is known: no path has a link, and each file is sound."""
