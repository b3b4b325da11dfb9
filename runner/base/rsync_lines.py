"""Which paths may an rsync reach that a definition's own command line starts? Checked at follow and before each start.

The files of a mirror come from its upstream, which can put a link anywhere in between.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence

from runner.base import file_view, pattern_files
from runner.base.file_view import FileView
from schemas.problems import shown
from schemas.rsync import rsync_hosts, rsync_options

FOLLOWING = frozenset({"--copy-links", "--copy-unsafe-links", "--copy-dirlinks", "--keep-dirlinks"})
"""Options with which rsync follows links out of a folder."""


def operands(arguments: Sequence[str]) -> list[str]:
    """Return the sources and the target of an rsync."""
    return [arguments[number] for number in rsync_options.read(arguments).operands]


def outside(arguments: Sequence[str], directory: str) -> Iterator[str]:
    """Yield the local operands that lie outside the mirror's directory or pass through a link."""
    for word in operands(arguments):
        if rsync_hosts.transport(word) == rsync_hosts.LOCAL and not is_own(word, directory):
            yield word


def is_own(path: str, directory: str, files: FileView = file_view.MACHINE) -> bool:
    """Return whether a path, relative to the mirror's directory, is that or lies below it with no link in between."""
    if ".." in path.split("/"):
        return False
    whole = os.path.normpath(os.path.join(directory, path))
    # By both paths: the administrator may have made the directory a link, and a definition may write either.
    for base in dict.fromkeys((os.path.normpath(directory), files.real(directory))):
        if whole == base:
            return True
        if whole.startswith(f"{base}/"):
            return not _passes_link(base, whole[len(base) + 1 :].split("/"), files)
    return False


def _passes_link(base: str, names: Sequence[str], files: FileView) -> bool:
    for name in names:
        base = os.path.join(base, name)
        if files.is_link(base):
            return True
    return False


def refusal(words: Sequence[str], directory: str, folders: Sequence[str] | None) -> str:
    """Return why the command line of an rsync must not be started now; empty if it may.

    `folders` are the policy's `pattern_files`, None if it is not known.
    """
    if (fault := rsync_options.read(words[1:]).fault) is not None:
        return f"the options of rsync cannot be judged from `{shown(fault.spelling)}` on ({fault.kind})"
    found = next(outside(words[1:], directory), None)
    if found is not None:
        return f"rsync would reach `{shown(found)}`, which leads out of {directory}; name the mirror's directory itself"
    return next(_of_files(words[1:], directory, folders), "")


def _of_files(arguments: Sequence[str], directory: str, folders: Sequence[str] | None) -> Iterator[str]:
    for each in pattern_files.of_arguments(arguments, directory):
        with contextlib.suppress(OSError):  # reported when the file is copied, right before the start
            if why := pattern_files.refusal(each.path, each.modifiers, folders):
                yield f"rsync would send the file of `{each.option}` to the upstream, but {shown(each.path)} {why}"
