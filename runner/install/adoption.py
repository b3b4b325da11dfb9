"""A state directory of a manager that root's commands created, such as `token add` before the installation.

It can be given to the user of the units: only root has written there, and no program of root is running in it.
"""

import os
from collections.abc import Iterator

from runner.base.locks import is_held
from schemas.errors import SkipjackError

_LOCKS = ("serve.lock", "publish.lock")
_NAMES = ("checkout", "postgresql-mark", *_LOCKS)
_BEGINNINGS = ("manager.db", "skipjack-manager-bug-")
"""How names begin that the manager's programs create in their state directory."""


def is_for_giving(folder: str) -> bool:
    """Return whether a folder belongs to root and holds only the state of a manager that is not running."""
    try:
        if os.stat(folder).st_uid != 0 or os.path.islink(folder):
            return False
        names = os.listdir(folder)
        is_ours = all(name in _NAMES or name.startswith(_BEGINNINGS) for name in names)
        # A running manager keeps its files: as root it would go on to write files that the new owner cannot.
        return bool(names) and is_ours and not any(is_held(os.path.join(folder, name)) for name in _LOCKS)
    except OSError:
        return False


def give(folder: str, user: int, group: int) -> None:
    """Give a folder and all its contents to a user; links are changed themselves, not their targets."""
    try:
        for path in [*_below(folder), folder]:
            os.chown(path, user, group, follow_symlinks=False)
    except OSError as error:
        todo = "Change it to the user of the units yourself."
        raise SkipjackError(f"cannot change the owner of {folder}: {error.strerror}.", todo) from error


def _below(folder: str) -> Iterator[str]:
    for place, folders, files in os.walk(folder):
        yield from (os.path.join(place, name) for name in (*folders, *files))
