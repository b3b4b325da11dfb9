"""Could a pattern file send more to an upstream than its own patterns? Checked at follow and before each start.

Between the two the file may have been replaced. rsync opens it by its path once more, so this does not protect a folder
in which users other than root and the worker's can create files.
"""

import os
from collections.abc import Iterator, Sequence

from runner.base.mirror_paths import lies_in
from schemas.regular_files import read_regular, require_regular

_MOST = 64 * 1024**2
"""Size in bytes of the largest file of filter rules that is read."""

FileFault = tuple[str, str]
"""What is wrong with a file, as words after its path, and what to do."""


def faults(path: str, modifiers: str | None) -> Iterator[FileFault]:
    """Yield why a file may send more than its own patterns; nothing for one that is missing or cannot be read.

    `modifiers` are those of the filter rule that merges it, None for a plain list of patterns.
    """
    try:
        if (links := os.stat(path).st_nlink) > 1:
            # Any of them could be a secret, wherever it lies.
            yield f"has {links} hard links, so it may be a secret as well", "Replace it by a copy of its content."
        if modifiers is not None:
            from schemas.problems import shown  # loaded here, since few definitions merge a file, and runs come here
            from schemas.rsync import rsync_filters

            content = read_regular(path, _MOST).decode("latin-1")
            for rule in rsync_filters.rules_that_read(content, modifiers):
                yield f"has the rule `{shown(rule)}`, for which rsync reads another file", "Write the rules themselves."
                return
    except OSError:
        return


def refusal(path: str, modifiers: str | None, folders: Sequence[str] | None) -> str:
    """Return why rsync must not send a file's rules now, as words after its path; empty if it may.

    `folders` are the policy's `pattern_files`, None if it is not known. Raises OSError, with the reason in `strerror`,
    if the file cannot be read or is not a regular one.
    """
    if folders is not None and not any(lies_in(path, folder) for folder in folders):
        return f"is really {os.path.realpath(path)}, outside of the policy's `pattern_files`"
    require_regular(path)
    return next((what for what, _todo in faults(path, modifiers)), "")


def of_arguments(words: Sequence[str], directory: str) -> Iterator[tuple[str, str, str | None]]:
    """Yield the option, path and modifiers of each file whose rules an rsync with these arguments sends.

    A relative path begins at `directory`, where rsync is started.
    """
    from schemas.rsync import rsync_filters, rsync_options  # loaded here, since most runs have no own options

    for option in rsync_options.read(words).options:
        if found := rsync_filters.sent_file(option.name, option.value):
            yield option.name, os.path.join(directory, found.path), found.modifiers
