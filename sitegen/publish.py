"""`skipjack-manager publish`: keeps the site's files up to date with the store and the clock."""

import contextlib
import ctypes
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from schemas import wakeup
from schemas.errors import SkipjackError
from schemas.records import ManagerSettings
from schemas.wakeup import WakeupSocket
from sitegen import locks, supervised
from sitegen.lease import LeaseLost
from sitegen.messages.model import Facts
from sitegen.site import files, pages
from sitegen.site.evaluate import Evaluator
from sitegen.site.pages import Pages
from sitegen.site.snapshot import Snapshot
from sitegen.storage.facts_reader import FactsReader
from sitegen.storage.store import Store

if TYPE_CHECKING:  # without a repository to follow, neither git nor YAML is loaded
    from sitegen.follow import Follower

AT_LEAST = 0.2
"""Seconds of rest after each publishing, so that many reports at once make few of them."""

REST, LONGEST_REST = 3.0, 2.0
"""A rest is at least this multiple of the publishing's time, which leaves the machine to others on a large site, but
for that reason no longer than this many seconds."""

AT_MOST = 60.0
"""Seconds between two publishings, so that the age of the overview shows that the publisher is running."""

_RETRY = 5.0
"""Seconds until publishing is tried again after a failure, such as a full disk."""

AT_WORK = "keeping the site up to date"
"""The status of a publisher that holds the lock, as the service manager shows it."""

_M_ARENA_MAX = -8
"""The option of glibc's mallopt(3) that limits the number of memory arenas."""

_TOGETHER = 200
"""Mirrors that are rendered before their files are written, which bounds the memory of a first publishing."""

_log = logging.getLogger(__name__)


class SitePublisher:
    """Brings the site's folder up to date with each call. `check` raises LeaseLost when it may not write."""

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
        """Write the files that changed; returns when the next one changes by time alone (Unix seconds), or None."""
        # One transaction, so that mirrors' pages and the overviews show the same moment.
        with self._store.reading() as reader:
            self._facts = facts = reader.facts(self._facts)
            current = self._evaluator.evaluate(facts, now)
            try:
                self._write(current, reader)
            # Even after a signal some files may be written, so none counts as up to date.
            except BaseException:
                self._pages.forget()
                raise
        if self._follower is not None:
            self._follower.see_revisions(frozenset(worker.revision for worker in facts.workers if worker.revision))
        return current.changes_at

    def _write(self, current: Snapshot, reader: FactsReader) -> None:
        """Write mirrors' own files first, so that an overview never links to a missing page."""
        outdated, rendered = self._pages.outdated(current), dict[str, bytes]()
        for start in range(0, len(outdated), _TOGETHER):
            if rendered:
                files.write(self._site_dir, rendered, self._check)
            views = outdated[start : start + _TOGETHER]
            formerly = {view.name: view.definition.formerly for view in views}
            histories = reader.histories(list(formerly), formerly)
            rendered = self._pages.mirrors(current, views, histories)
        files.write(self._site_dir, rendered | self._pages.overviews(current), self._check)
        # Last: until now the overviews on disk could link to these pages.
        self._remove_vanished(pages.mirror_files(current))

    def _remove_vanished(self, names: list[str]) -> None:
        # The folder has at least two files for each mirror, so it is listed only after a mirror was added or removed.
        if names != self._names:
            self._check()
            files.remove_others(self._site_dir, "mirrors", names)
            self._names = names


def publish(settings: ManagerSettings, *, once: bool) -> None:
    """Publish until a signal arrives, or once. After a lost lease, wait for the next one; SkipjackError if `once`.

    That may take a year, so a publisher on standby reports to the service manager that it has started.
    """
    with Store(settings.state_dir, settings.database, settings.site_dir) as store:
        # Before the lock: with a wrong folder this fails at once, not when another publisher ends one day.
        files.require_writable(settings.site_dir)
        while True:
            try:
                with locks.publishing(settings, wait=not once, standing_by=_stand_by) as check:
                    return _publish(settings, store, check, once=once)
            except LeaseLost as error:
                if once:
                    raise
                _log.error("%s", error)


def _stand_by(why: str) -> None:
    supervised.ready(f"standing by: {why}")


def _publish(settings: ManagerSettings, store: Store, check: Callable[[], None], *, once: bool) -> None:
    with contextlib.ExitStack() as stack:
        follower = _follower(settings, store, check)
        publisher = SitePublisher(store, settings.site_dir, follower, check)
        if once:
            if follower:
                follower.follow()
            publisher.publish(time.time())
            _check_followed(follower)
            return
        # Before the first publishing: the socket keeps wake-ups that arrive meanwhile.
        wakeups = stack.enter_context(contextlib.closing(WakeupSocket(settings.run_dir, wakeup.PUBLISHER)))
        if follower:
            _share_memory()
            follower.start(partial(wakeup.send, settings.run_dir, wakeup.PUBLISHER))
            stack.callback(follower.end)
        supervised.ready(AT_WORK)
        _publish_forever(publisher, wakeups, check)


def _check_followed(follower: "Follower | None") -> None:
    """Raise SkipjackError when the site that was just written does not show the newest config revision."""
    if follower is None:
        what = "the site shows only what workers report: `manager.yml` has no config repository."
        raise SkipjackError(what, "Set `repository: {url: …}` there.")
    if follower.refusal:
        todo = "The site was written from the revision in use."
        raise SkipjackError("cannot follow the config repository: see the error above.", todo)


def _follower(settings: ManagerSettings, store: Store, check: Callable[[], None]) -> "Follower | None":
    if settings.repository is None:
        return None
    from sitegen.follow import Follower

    has_webhook = settings.webhook is not None
    return Follower(settings.repository, settings.state_dir, store, check, has_webhook=has_webhook)


def _share_memory() -> None:
    """Let both threads allocate from one arena, so that one reuses memory that the other has freed.

    Otherwise the memory for loading a configuration stays with the thread that follows. Only glibc has arenas.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _publish_forever(publisher: SitePublisher, wakeups: WakeupSocket, check: Callable[[], None]) -> None:
    while True:
        check()  # a lost lease ends this even while nothing changes
        began = time.monotonic()
        pause = _pause(publisher)
        ended = time.monotonic()
        wakeups.wait(pause)
        # The rest comes after the wake-up, so that a single change is published at once.
        time.sleep(max(0.0, ended + _rest(ended - began) - time.monotonic()))


def _rest(took: float) -> float:
    """Return the seconds to rest after a publishing that took `took` seconds."""
    return max(AT_LEAST, min(REST * took, LONGEST_REST))


def _pause(publisher: SitePublisher) -> float:
    """Publish; returns the seconds to sleep. After a failure, such as a full disk, publishing is retried."""
    now = time.time()
    try:
        changes_at = publisher.publish(now)
    # A SkipjackError as well, but one after which nothing may be retried here.
    except LeaseLost:
        raise
    except SkipjackError as error:
        _log.error("cannot publish the site, retrying in %g s: %s", _RETRY, error)
        supervised.status(f"cannot publish the site: {error}")
        return _RETRY
    supervised.status(AT_WORK)
    return AT_MOST if changes_at is None else min(AT_MOST, max(0.0, changes_at - now))
