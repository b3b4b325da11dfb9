"""Which pattern files come from the config repository, where are they stored, and has one been altered?

follow writes each into the state directory by git's name of its content, and the plan names it there. Its lines were
checked with the definitions (`schemas/config/repository_patterns.py`), so the machine's policy does not judge it.
"""

import os
import re

from runner.base.state_dir import StateLayout
from schemas.mirror_record import MOST_PATTERN_BYTES, Mirror
from schemas.regular_files import read_regular, regular_itself

_BLOB = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")
_FOLDER = os.path.basename(StateLayout("/").repository_patterns)


def is_stored(path: str | None) -> bool:
    """Return whether a path has the form of a stored pattern file."""
    folder, blob = os.path.split(path or "")
    return os.path.basename(folder) == _FOLDER and _BLOB.fullmatch(blob) is not None


def fault(path: str, copy: str = "") -> str:
    """Return what is wrong with the content of a stored file, as words after its path; empty if it has its hash.

    `copy` is a copy of it that is read in its place. Raises OSError if it cannot be read or is not a regular file.
    """
    data = read_regular(copy, MOST_PATTERN_BYTES) if copy else _content(path)
    return "" if name_of(data, len(os.path.basename(path))) == os.path.basename(path) else "was altered"


def _content(path: str) -> bytes:
    descriptor = regular_itself(path, os.O_RDONLY)
    with open(descriptor, "rb") as file:
        return file.read(MOST_PATTERN_BYTES + 1)


def name_of(data: bytes, length: int) -> str:
    """Return git's name of a file with this content, in so many hexadecimal digits: 40 for SHA-1, 64 for SHA-256."""
    import hashlib  # it loads OpenSSL, which most runs do not need

    kind = "sha1" if length == len("0" * 40) else "sha256"
    return hashlib.new(kind, b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def without_repository_patterns(mirror: Mirror, layout: StateLayout | None = None) -> Mirror:
    """Return a definition without a pattern file of the repository, which no policy judges.

    With the `layout` of the worker, one in force: it names the stored file, which no policy allows a definition to do.
    """
    path = mirror.exclude_file
    if path is None:
        return mirror
    is_stored_here = layout is not None and is_stored(path) and os.path.dirname(path) == layout.repository_patterns
    return mirror._replace(exclude_file=None) if is_stored_here or not path.startswith("/") else mirror
