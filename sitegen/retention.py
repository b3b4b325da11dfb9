"""Deletes expired history, in a background thread of serve and in steps so small that no report waits for one."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from schemas.records import ManagerSettings
from sitegen.scoped_thread import ScopedThread
from sitegen.storage import audit_store, command_store, history_store
from sitegen.storage.database import StoreError
from sitegen.storage.store import Store

EVERY = 3600.0
"""Seconds between two cleanups; the first is at the start."""

REST = 4.0
"""The rest after each step, as a multiple of the step's time, in which others have the database."""

_log = logging.getLogger(__name__)


class _Ended(Exception):  # noqa: N818 - it is not a failure
    """The program ends, so the cleanup stops."""


class Retention(ScopedThread):
    """A thread that applies the retention settings (`history`), from enter to exit."""

    def __init__(self, store: Store, settings: ManagerSettings) -> None:
        super().__init__("history")
        self._store = store
        self._history = settings.history
        self._commands_expire = settings.commands_expire
        # Runs that ended before this have no log. Not stored, so the first cleanup after a start looks at all runs.
        self._logs_until = 0.0

    def clean_up(self, now: float) -> None:
        """Delete everything that has expired at `now`, Unix seconds."""
        command_store.expire(self._store, now - self._commands_expire, now)
        self._delete_audit(now)
        while self._logs_until < now - self._history.keep_logs:
            with self._resting():
                self._logs_until = history_store.forget_logs(
                    self._store, self._logs_until, now - self._history.keep_logs
                )
        for group in history_store.crowded(self._store, self._history, now):
            self._delete_runs(group, now)

    def _delete_audit(self, now: float) -> None:
        old = partial(audit_store.forget, self._store, now - self._history.keep_audit)
        for forget in (old, partial(audit_store.forget_refused, self._store)):
            found = audit_store.STEP
            while found == audit_store.STEP:
                with self._resting():
                    found = forget()

    def _delete_runs(self, group: history_store.Group, now: float) -> None:
        found = history_store.STEP
        while found == history_store.STEP:
            with self._resting():
                found = history_store.forget_runs(self._store, group, self._history, now)

    @contextmanager
    def _resting(self) -> Iterator[None]:
        """Rest after a step; _Ended when the program ends meanwhile."""
        began = time.monotonic()
        yield
        if self._ended.wait(REST * (time.monotonic() - began)):
            raise _Ended

    def _work(self) -> None:
        while not self._ended.is_set():
            try:
                self.clean_up(time.time())
            except _Ended:
                return
            except StoreError as error:
                _log.error("history cleanup failed, retrying in %g s: %s", EVERY, error)
            self._ended.wait(EVERY)
