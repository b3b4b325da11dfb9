"""A manager's state directory that root's commands have made, as with `token add` before the installation.

It can be given to the user of the units: nobody but root has written there, and no program of root's is at work in it.
"""

import os
from collections.abc import Iterator

from runner.base.locks import is_held
from schemas.errors import SkipjackError

_LOCKS = ("serve.lock", "publish.lock")
_NAMES = ("checkout", "postgresql-mark", *_LOCKS)
_BEGINNINGS = ("manager.db", "skipjack-manager-bug-")
"""What the manager's programs make in their state directory."""


def is_for_giving(folder: str) -> bool:
    """Whether a folder is root's, holds nothing but a manager's state, and no manager is at work in it."""
    try:
        if os.stat(folder).st_uid != 0 or os.path.islink(folder):
            return False
        names = os.listdir(folder)
        is_ours = all(name in _NAMES or name.startswith(_BEGINNINGS) for name in names)
        return bool(names) and is_ours and not any(is_held(os.path.join(folder, name)) for name in _LOCKS)
    except OSError:
        return False


def give(folder: str, user: int, group: int) -> None:
    """Give a folder with all that is in it to a user; links themselves and not what they lead to."""
    try:
        for path in [*_below(folder), folder]:
            os.chown(path, user, group, follow_symlinks=False)
    except OSError as error:
        todo = "Give it to the user of the units yourself."
        raise SkipjackError(f"The folder {folder} cannot be given away: {error.strerror}.", todo) from error


def _below(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        yield from (os.path.join(place, name) for name in (*folders, *files))
