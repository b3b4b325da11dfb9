"""Could a pattern file send more to an upstream than its own patterns? Checked at follow and before each start.

A user who may write to its folder could replace it between a check and the next opening. So `opened` judges the open
file, and rsync gets a copy of exactly that one (`pattern_copies`).
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from runner.base.mirror_paths import is_within
from schemas import regular_files
from schemas.mirror_record import Mirror
from schemas.regular_files import read_regular

if TYPE_CHECKING:
    from schemas.rsync.rsync_options import Option

MOST_RULES = 64 * 1024**2
"""Size in bytes of the largest file of filter rules that is read."""

OPTION_KEYS = ("rsync_options", "rsync_options_extra", "rsync_override")
"""The keys of a definition whose words become arguments of rsync."""

_REMOVED = " (deleted)"
_TRIES = 100
"""How often a file is opened that is replaced at that moment, as by an editor."""

Judge = Callable[[str, int], None]
"""A function that raises Unsafe for a file that may not be sent, by its real path and its number of hard links."""

FileFault = tuple[str, str]
"""What is wrong with a file, as words after its path, and what to do."""


class Unsafe(Exception):  # noqa: N818 - a verdict, not an error
    """Rsync must not send a file's rules; the message is the reason, as words after its path."""


class OutsideOfPolicy(Unsafe):
    """A file does not lie where the folders of the policy led at the last follow."""


class Named(NamedTuple):
    """A file that an rsync sends: the option, its absolute path, the modifiers of the rule that merges it or None, and
    where the path is written: the number of the word that it ends, and its length there.

    `is_password` says that it holds a password, of which only the answer to a challenge is sent.
    """

    option: str
    path: str
    modifiers: str | None
    word: int
    length: int
    is_password: bool = False


def faults(path: str, modifiers: str | None) -> Iterator[FileFault]:
    """Yield why a file may send more than its own patterns; nothing for one that is missing or cannot be read.

    `modifiers` are those of the filter rule that merges it, None for a plain list of patterns.
    """
    try:
        if (links := os.stat(path).st_nlink) > 1:
            yield of_links(links), "Replace it by a copy of its content."
        if modifiers is not None and (found := rule_fault(read_regular(path, MOST_RULES), modifiers)):
            yield found, "Write the rules themselves."
    except OSError:
        return


def refusal(path: str, modifiers: str | None, folders: Sequence[str] | None) -> str:
    """Return why rsync must not send a file's rules now, as words after its path; empty if it may.

    `folders` as in `require_safe`. Raises OSError, with the reason in `strerror`, if the file cannot be read or is not
    a regular one.
    """
    try:
        with opened(path, partial(require_safe, folders)) as descriptor:
            if modifiers is None:
                return ""
            return rule_fault(regular_files.read_open(descriptor, path, MOST_RULES), modifiers)
    except Unsafe as why:
        return str(why)


@contextlib.contextmanager
def opened(path: str, judge: Judge) -> Iterator[int]:
    """Open a file, judge the open file, and yield a descriptor for reading it.

    Raises Unsafe if the file may not be sent, OSError if it cannot be read or is not a regular one.
    """
    descriptor = _open(path, judge)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(path: str, judge: Judge) -> int:
    for _try in range(_TRIES):
        found = regular_files.located(path)
        try:
            place, links = regular_files.place_of(found), os.fstat(found).st_nlink
            _wait_for_removals(os.path.dirname(place))
            # After the links were counted: as long as this name exists, it is one of them. So a single link means that
            # the file has no name outside of the folder.
            if place == regular_files.place_of(found) and not place.endswith(_REMOVED):
                judge(place, links)
                return regular_files.reopened(found)
        finally:
            os.close(found)
    raise Unsafe("was replaced each time when it was opened")


def _wait_for_removals(folder: str) -> None:
    """Wait until a removal in a folder that has begun is over; without effect on a folder that cannot be read.

    The kernel first counts the removed link less, and then forgets its name. Meanwhile the folder is locked, and a
    reader has to wait.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with os.scandir(descriptor) as entries:
                next(entries, None)
        finally:
            os.close(descriptor)


def require_safe(folders: Sequence[str] | None, place: str, links: int) -> None:
    """Raise Unsafe if the patterns of a file at this real path and with so many links may not be sent.

    `folders` are the real paths of the policy's `pattern_files` at the last follow, None if they are not known.
    """
    # The folders are not resolved here: a user who may write above one could have put a link in its place.
    if folders is not None and not any(is_within(place, folder) for folder in folders):
        raise OutsideOfPolicy(f"is really {place}, outside of the policy's `pattern_files`")
    require_one_link(links)


def require_one_link(links: int) -> None:
    """Raise Unsafe for a file with several hard links."""
    if links > 1:
        raise Unsafe(of_links(links))


def of_links(links: int) -> str:
    """Return what is wrong with a file with so many hard links: any of them could be a secret, wherever it lies."""
    return f"has {links} hard links, so it may be a secret as well"


def rule_fault(content: bytes, modifiers: str) -> str:
    """Return what is wrong with the rules of a merged file; empty if they read no further one."""
    from schemas.problems import shown  # loaded here, since few definitions merge a file, and runs come here
    from schemas.rsync import rsync_filters

    for rule in rsync_filters.rules_that_read(content.decode("latin-1"), modifiers):
        return f"has the rule `{shown(rule)}`, for which rsync reads another file"
    return ""


def of_arguments(words: Sequence[str], directory: str) -> Iterator[Named]:
    """Yield each file whose rules an rsync with these arguments sends.

    A relative path begins at `directory`, where rsync is started.
    """
    from schemas.rsync import rsync_filters, rsync_options  # loaded here, since most runs have no own options

    for option in rsync_options.read(words).options:
        if found := rsync_filters.sent_file(option.name, option.value):
            yield _named(option, found.path, found.modifiers, directory)


def passwords_of(words: Sequence[str], directory: str) -> Iterator[Named]:
    """Yield each file from which an rsync with these arguments reads a password."""
    from schemas.rsync import rsync_options  # loaded here for the same reason

    for option in rsync_options.read(words).options:
        if (path := rsync_options.file_of(option.name, option.value, rsync_options.PASSWORD)) is not None:
            yield _named(option, path, None, directory)._replace(is_password=True)


def _named(option: "Option", path: str, modifiers: str | None, directory: str) -> Named:
    word = option.word if option.value_word is None else option.value_word
    return Named(option.name, os.path.join(directory, path), modifiers, word, len(path))


def replaced(words: Sequence[str], files: Sequence[Named], path_of: Callable[[str], str]) -> tuple[str, ...]:
    """Return arguments with other paths of these files, which `of_arguments` has found in them."""
    left = list(words)
    for each in files:
        left[each.word] = left[each.word][: len(left[each.word]) - each.length] + path_of(each.path)
    return tuple(left)


def words_of(mirror: Mirror) -> Iterator[str]:
    """Yield the options and files of a definition that a plug-in may read and pass to an rsync of its own.

    No list may end in an option without its value, so another order of them has the same meaning.
    """
    for key in OPTION_KEYS:
        yield from getattr(mirror, key)
    if mirror.exclude_file is not None:
        yield from ("--exclude-from", mirror.exclude_file)
    if not isinstance(mirror.stage1_profile, str):
        yield from (f"--filter={rule}" for rule in mirror.stage1_profile)
