"""Remove listed items, each after it was checked again: it must still be the same, unused and without a definition."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from functools import partial

from runner.base import locks, mounts
from runner.base.state_dir import StateLayout
from runner.drift import folders, known, tree
from runner.drift.items import DATA, LOGS, SNAPSHOT, Leftover
from runner.drift.known import Defined
from runner.drift.state import files_of_mirrors
from runner.drift.tree import NotAsListed
from runner.hooks import btrfs
from runner.journal import journal
from runner.plan import plan
from schemas.names import is_name
from schemas.records import RunnerSettings

_PATIENCE = 2.0
"""Seconds to wait for a lock: a process that checks whether it is held takes it for an instant."""


class Remover:
    """Removes items, with what is known of definitions as of now. `removed` is called for each file."""

    def __init__(self, settings: RunnerSettings, found: Defined, removed: Callable[[], None]) -> None:
        self._settings, self._known, self._removed = settings, found, removed
        self._layout = StateLayout(settings.state_dir)

    def remove(self, item: Leftover) -> None:
        """Remove an item. Raises NotAsListed if it has to stay by now, OSError or SkipjackError if that fails."""
        self._check_definitions(item)
        with self._locked(item):
            if item.kind in (DATA, LOGS):
                self._remove_folder(item)
            elif item.kind == SNAPSHOT:
                self._remove_snapshot(item)
            else:
                self._remove_state(item)

    def _check_definitions(self, item: Leftover) -> None:
        """Raise NotAsListed if an item has a definition by now."""
        if plan.stamp_of(self._layout.plan) != self._known.stamp:
            self._known = known.load(self._settings)
        if self._known.unsure:
            raise NotAsListed(f"is kept: {self._known.unsure}")
        is_used = item.path in self._known.used or item.path in self._known.above
        if is_used or (item.kind != DATA and item.name in self._known.names):
            raise NotAsListed("has a definition by now")

    @contextlib.contextmanager
    def _locked(self, item: Leftover) -> Iterator[None]:
        """Hold the locks of the mirror with an item's name and of its directory. Raises NotAsListed if one is held."""
        with contextlib.ExitStack() as stack:
            for kind in ("supervisor", "mirror") if is_name(item.name) else ():
                path = self._layout.lock(kind, item.name)
                is_new = not os.path.exists(path)
                if not stack.enter_context(locks.Held(path, wait=_PATIENCE)):
                    raise NotAsListed("is in use by a run")
                if is_new:
                    stack.callback(_unlink, path)
            # It holds no lock, and may work anywhere below a directory.
            if any(name not in self._known.names for name in self._layout.containers_left()):
                raise NotAsListed("may be in use by a container, which the next `skipjack tick` removes")
            if item.kind == DATA and (held := self._lock_directory(item.path)) is not None:
                stack.callback(os.close, held)
            yield

    @staticmethod
    def _lock_directory(path: str) -> int | None:
        try:
            held = locks.try_lock_directory(path, wait=_PATIENCE)
        except FileNotFoundError as error:
            raise NotAsListed("is gone") from error
        except OSError:  # its file system has no such locks
            return None
        if held is None:
            raise NotAsListed("is in use by a run")
        return held

    def _remove_folder(self, item: Leftover) -> None:
        if why := folders.mounted_in(item.path, mounts.points()):
            raise NotAsListed(f"is kept: {why}")
        if item.kind == LOGS and (other := folders.others_than_logs(item.path)):
            raise NotAsListed(f"has other files than logs by now, such as `{other}`")
        root = self._settings.mirror_root if item.kind == DATA else self._settings.log_dir
        tree.remove(item.path, os.path.realpath(root), partial(_is_same, item), self._removed)

    @staticmethod
    def _remove_snapshot(item: Leftover) -> None:
        if folders.identity_of(os.lstat(item.path)) != item.identity or not btrfs.is_read_only(item.path):
            raise NotAsListed("was changed or replaced meanwhile")
        btrfs.delete(item.path)

    def _remove_state(self, item: Leftover) -> None:
        with journal.opened(self._layout.journal) as book:
            if not book.forget(item.name, time.time()):
                raise NotAsListed("has a run by now")
        for path in files_of_mirrors(self._settings).get(item.name, ()):
            _unlink(path)


def _is_same(item: Leftover, found: os.stat_result) -> bool:
    return folders.identity_of(found) == item.identity


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
