"""Which release this is, with the commit it was built from or runs from: `0.1.0+g1a2b3c4d5e6f`.

A build from a checkout records its commit beside this module (`setup.py`). An editable installation has the checkout
itself, which is read without starting git. A release is built from a source archive, so it has neither.
"""

import functools
import string
from pathlib import Path

from schemas import VERSION

RECORD = "commit.txt"
"""Name of the file beside this module that holds the commit."""

_SHOWN = 12
"""Digits of a commit that are shown, as in messages about revisions."""


@functools.cache
def version() -> str:
    """Return the version, with the commit as local version (PEP 440) if it is known.

    Read once per process: a checkout may change while the modules of an earlier commit are loaded.
    """
    package = Path(__file__).parent
    commit = _checked(_text(package / RECORD)) or commit_of_checkout(package.parent)
    return f"{VERSION}+g{commit[:_SHOWN]}" if commit else VERSION


def commit_of_checkout(folder: Path) -> str:
    """Return the commit that is checked out in a folder, as 40 or 64 hexadecimal digits; empty when there is none."""
    place = folder / ".git"
    if not place.is_dir():  # a linked worktree has a file that names its folder
        place = folder / _text(place).removeprefix("gitdir: ")
    head = _text(place / "HEAD")
    if not head.startswith("ref: "):
        return _checked(head)
    name = head.removeprefix("ref: ")
    # A linked worktree has its own HEAD, and the branches of the main one.
    common = place / _text(place / "commondir")
    return _checked(_text(common / name)) or _checked(_packed(common, name))


def _packed(place: Path, name: str) -> str:
    lines = (line.split(" ") for line in _text(place / "packed-refs").splitlines())
    return next((words[0] for words in lines if words[1:] == [name]), "")


def _text(path: Path) -> str:
    """Return the text of a file without blanks around it; empty when it cannot be read."""
    try:
        return path.read_text("utf-8").strip()
    except (OSError, ValueError):
        return ""


def _checked(commit: str) -> str:
    is_commit = len(commit) in (40, 64) and set(commit) <= set(string.hexdigits)
    return commit if is_commit else ""
