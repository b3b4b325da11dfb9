"""Temporary folders of commands that people type: removed at their end, or by the next one if the command was killed.

A killed dry run would leave copies of pattern files there, and a killed `validate` or `next` a checkout. Units have a
`/tmp` of their own, which goes with them.
"""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator

from runner.base import locks

_PREFIX = "skipjack-scratch-"
_LOCK = ".in-use"

_NEW = 60.0
"""Seconds for which a folder counts as one whose command is about to lock it."""


@contextlib.contextmanager
def opened() -> Iterator[str]:
    """Make a folder in the temporary directory for a block, after those that killed commands of this user left."""
    _remove_left()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder, locks.Held(os.path.join(folder, _LOCK)):
        yield folder


def _remove_left() -> None:
    with contextlib.suppress(OSError):  # they are removed another time
        for each in os.scandir(tempfile.gettempdir()):
            if each.name.startswith(_PREFIX) and _may_be_left(each.stat(follow_symlinks=False)):
                with locks.Held(os.path.join(each.path, _LOCK)) as is_left:
                    if is_left:
                        shutil.rmtree(each.path)


def _may_be_left(found: os.stat_result) -> bool:
    is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return is_own and time.time() - found.st_mtime > _NEW
