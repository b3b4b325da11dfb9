"""`skipjack-manager publish`: the process that keeps the site's files what the store and the clock say."""

import contextlib
import logging
import time
from functools import partial

from schemas.errors import SkipjackError
from schemas.records import ManagerSettings
from sitegen import files, locks, pages, snapshot
from sitegen.follow import Follower
from sitegen.pages import Pages
from sitegen.poke import Listener, poke
from sitegen.store import Store

AT_LEAST = 0.2
"""Seconds between two publishings, so that a storm of reports becomes a few."""

AT_MOST = 60.0
"""Seconds between two publishings, so that the overview always says that somebody is at work."""

_RETRY = 5.0

_log = logging.getLogger(__name__)


class Publisher:
    """Brings the site's folder up to date, again and again."""

    def __init__(self, store: Store, site_dir: str, follower: Follower | None = None) -> None:
        self._store = store
        self._follower = follower
        self._site_dir = site_dir
        self._pages = Pages()
        self._names: list[str] = []

    def publish(self, now: float) -> float | None:
        """Write what has changed; returns the moment at which something changes by itself, Unix seconds."""
        with self._store.reading() as reader:
            facts = reader.facts()
            current = snapshot.judge(facts, now)
            histories = reader.histories([view.name for view in self._pages.outdated(current)])
        try:
            files.write(self._site_dir, self._pages.render(current, histories))
            self._remove_vanished(pages.mirror_files(current))
        except BaseException:
            self._pages.forget()
            raise
        if self._follower is not None:
            self._follower.hear(frozenset(worker.revision for worker in facts.workers if worker.revision))
        return current.changes_at

    def _remove_vanished(self, names: list[str]) -> None:
        if names != self._names:
            files.remove_others(self._site_dir, "mirrors", names)
            self._names = names


def publish(settings: ManagerSettings, *, once: bool) -> None:
    """Publish until a signal ends it, or once."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(locks.publishing(settings.state_dir))
        store = stack.enter_context(Store(settings.state_dir))
        follower = Follower(settings.repository, settings.state_dir, store) if settings.repository else None
        publisher = Publisher(store, settings.site_dir, follower)
        if once:
            if follower:
                follower.follow()
            publisher.publish(time.time())
            return
        listener = stack.enter_context(Listener(settings.run_dir))
        if follower:
            follower.start(partial(poke, settings.run_dir))
        _publish_forever(publisher, listener)


def _publish_forever(publisher: Publisher, listener: Listener) -> None:
    while True:
        began = time.monotonic()
        pause = _pause(publisher)
        listener.wait(pause)
        time.sleep(max(0.0, began + AT_LEAST - time.monotonic()))


def _pause(publisher: Publisher) -> float:
    """Publish and say how long to sleep, in seconds. A full disk or a locked database is not the end."""
    now = time.time()
    try:
        changes_at = publisher.publish(now)
    except SkipjackError as error:
        _log.error("The site could not be published, the next try is in %g s: %s", _RETRY, error)
        return _RETRY
    return AT_MOST if changes_at is None else min(AT_MOST, max(0.0, changes_at - now))
