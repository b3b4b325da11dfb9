"""`skipjack-manager publish`: the process that keeps the site's files what the store and the clock say."""

import contextlib
import ctypes
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from schemas.errors import SkipjackError
from schemas.records import ManagerSettings
from sitegen import locks, supervised
from sitegen.messages.model import Facts
from sitegen.site import files, pages
from sitegen.site.evaluate import Evaluator
from sitegen.site.pages import Pages
from sitegen.site.snapshot import Snapshot
from sitegen.storage.store import Store, StoreReader
from sitegen.wakeup import Listener, poke

if TYPE_CHECKING:  # who follows nothing needs neither git nor YAML
    from sitegen.follow import Follower

AT_LEAST = 0.2
"""Seconds of rest after each publishing, so that a storm of reports becomes a few."""

REST, LONGEST_REST = 3.0, 2.0
"""A rest is also this many times as long as what it is after, so that a large site leaves the machine to others too,
but not longer than that many seconds for it."""

AT_MOST = 60.0
"""Seconds between two publishings, so that the overview always says that somebody is at work."""

_RETRY = 5.0

AT_WORK = "keeping the site up to date"
"""What the service manager shows of a publisher that has the turn."""

_M_ARENA_MAX = -8
"""How glibc calls the number of places that threads have their memory from."""

_TOGETHER = 200
"""Mirrors that are rendered before their files are written, so that a first publishing needs little memory."""

_log = logging.getLogger(__name__)


class Publisher:
    """Brings the site's folder up to date, again and again."""

    def __init__(
        self,
        store: Store,
        site_dir: str,
        follower: "Follower | None" = None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._check = check
        self._follower = follower
        self._site_dir = site_dir
        self._facts: Facts | None = None
        self._evaluator = Evaluator()
        self._pages = Pages()
        self._names: list[str] = []

    def publish(self, now: float) -> float | None:
        """Write what has changed; returns the moment at which something changes by itself, Unix seconds."""
        with self._store.reading() as reader:
            self._facts = facts = reader.facts(self._facts)
            current = self._evaluator.evaluate(facts, now)
            try:
                self._write(current, reader)
            except BaseException:
                self._pages.forget()
                raise
        if self._follower is not None:
            self._follower.hear(frozenset(worker.revision for worker in facts.workers if worker.revision))
        return current.changes_at

    def _write(self, current: Snapshot, reader: StoreReader) -> None:
        """Mirrors' own files first, so that an overview never links to a page that is not there yet."""
        outdated, rendered = self._pages.outdated(current), dict[str, bytes]()
        for start in range(0, len(outdated), _TOGETHER):
            if rendered:
                files.write(self._site_dir, rendered, self._check)
            views = outdated[start : start + _TOGETHER]
            formerly = {view.name: view.definition.formerly for view in views}
            histories = reader.histories(list(formerly), formerly)
            rendered = self._pages.mirrors(current, views, histories)
        files.write(self._site_dir, rendered | self._pages.overviews(current), self._check)
        self._remove_vanished(pages.mirror_files(current))

    def _remove_vanished(self, names: list[str]) -> None:
        if names != self._names:
            self._check()
            files.remove_others(self._site_dir, "mirrors", names)
            self._names = names


def publish(settings: ManagerSettings, *, once: bool) -> None:
    """Publish until a signal ends it, or once. Whoever has lost the turn waits for the next one.

    A turn that is waited for may come in a year, so standing by counts as started and says so.
    """
    with Store(settings.state_dir, settings.database, settings.site_dir) as store:
        files.require_writable(settings.site_dir)
        while True:
            try:
                with locks.publishing(settings, wait=not once, standing_by=_stand_by) as check:
                    return _publish(settings, store, check, once=once)
            except locks.Lost as error:
                if once:
                    raise
                _log.error("%s", error)


def _stand_by(why: str) -> None:
    supervised.ready(f"standing by: {why}")


def _publish(settings: ManagerSettings, store: Store, check: Callable[[], None], *, once: bool) -> None:
    with contextlib.ExitStack() as stack:
        follower = _follower(settings, store, check)
        publisher = Publisher(store, settings.site_dir, follower, check)
        if once:
            if follower:
                follower.follow()
            publisher.publish(time.time())
            _check_followed(follower)
            return
        listener = stack.enter_context(Listener(settings.run_dir))
        if follower:
            _share_memory()
            follower.start(partial(poke, settings.run_dir))
            stack.callback(follower.end)
        supervised.ready(AT_WORK)
        _publish_forever(publisher, listener, check)


def _check_followed(follower: "Follower | None") -> None:
    """SkipjackError when the site that was written once is not what a config repository says."""
    if follower is None:
        what = "The site shows only what workers report: manager.yml names no config repository."
        raise SkipjackError(what, "Set `repository: {url: …}` there.")
    if follower.refusal:
        todo = "The site was written with what was known before."
        raise SkipjackError("The config repository cannot be followed, as said above.", todo)


def _follower(settings: ManagerSettings, store: Store, check: Callable[[], None]) -> "Follower | None":
    if settings.repository is None:
        return None
    from sitegen.follow import Follower

    return Follower(settings.repository, settings.state_dir, store, check)


def _share_memory() -> None:
    """Let both threads have their memory from one place, so that what one has freed is used by the other.

    Else what it took to load a configuration stays with the thread that follows. Other C libraries than glibc have no
    such places.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _publish_forever(publisher: Publisher, listener: Listener, check: Callable[[], None]) -> None:
    while True:
        check()
        began = time.monotonic()
        pause = _pause(publisher)
        ended = time.monotonic()
        listener.wait(pause)
        time.sleep(max(0.0, ended + _rest(ended - began) - time.monotonic()))


def _rest(took: float) -> float:
    """Seconds to rest after a publishing that took so many."""
    return max(AT_LEAST, min(REST * took, LONGEST_REST))


def _pause(publisher: Publisher) -> float:
    """Publish and say how long to sleep, in seconds. A full disk or a locked database is not the end."""
    now = time.time()
    try:
        changes_at = publisher.publish(now)
    except locks.Lost:
        raise
    except SkipjackError as error:
        _log.error("The site could not be published, the next try is in %g s: %s", _RETRY, error)
        supervised.status(f"the site could not be published: {error}")
        return _RETRY
    supervised.status(AT_WORK)
    return AT_MOST if changes_at is None else min(AT_MOST, max(0.0, changes_at - now))
