"""How the manager follows the config repository: it needs the definitions, and knows how far workers are behind."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from schemas.config import catalogue, plugin_search
from schemas.errors import SkipjackError
from schemas.git import repository
from schemas.records import Repository
from sitegen.messages.model import DeclaredConfig, Note
from sitegen.storage import wake_store
from sitegen.storage.corruption import Damaged
from sitegen.storage.store import Store, StoreError

INTERVAL = 60.0
"""Seconds between two fetches, unless a webhook arrives or a worker reports a revision that is new here."""

LOOK_EVERY = 1.0
"""Seconds between two looks whether any manager of this database got a webhook."""

_UNREACHABLE = "unreachable"
"""Takes the place of the revision when none could be fetched."""

_log = logging.getLogger(__name__)


class Follower:
    """Keeps the configuration in the store at the newest valid revision.

    `check` raises an exception when this process may no longer write to the store. With `has_webhook` each webhook
    causes a fetch.
    """

    def __init__(
        self,
        source: Repository,
        state_dir: str,
        store: Store,
        check: Callable[[], None] = lambda: None,
        *,
        has_webhook: bool = False,
    ) -> None:
        self._check = check
        self._ended = threading.Event()
        self._source = source
        self._checkout = Path(state_dir) / "checkout"
        self._store = store
        self._loaded = ""
        self._noted: tuple[str, str | None] | None = None
        self._reason = ""
        self._reported: frozenset[str] = frozenset()
        self._wake = threading.Event()
        self._has_webhook = has_webhook
        self._wake_number = 0

    @property
    def refusal(self) -> str:
        """The reason why the newest revision is not in use; empty when it is."""
        return self._reason

    def see_revisions(self, revisions: frozenset[str]) -> None:
        """Fetch at once when workers report a revision for the first time."""
        # Once for each revision: a worker at one that is not in the repository would cause a fetch with each
        # publishing.
        if not revisions <= self._reported:
            self._reported |= revisions
            self._wake.set()

    def follow(self) -> bool:
        """Fetch once; returns whether something changed.

        If the fetch fails or the revision is rejected, the reason is stored and the revision in use stays.
        """
        try:
            revision, rewritten = self._fetch()
        except repository.Unfetched as error:
            # This says nothing about a revision, so the note of a rejected one stays beside it.
            return self._note(_UNREACHABLE, error)
        except repository.Unverified as error:
            return self._note(error.commit, error)
        except SkipjackError as error:
            return self._note(None, error)
        try:
            # The store is asked too: a database that was replaced does not have the revision that is in memory here.
            if revision.commit == self._loaded and self._kept() is not None:
                return self._note(None, None)
            declared = _declared(revision, self._kept())
        # A StoreError is a SkipjackError as well, but says nothing about this revision.
        except StoreError:
            raise
        except SkipjackError as error:
            return self._note(revision.commit, error)
        if rewritten:
            _log.warning("%s", rewritten)
            declared = declared._replace(problems=(rewritten, *declared.problems))
        self._check()  # after a lost lease another publisher may have stored a newer revision
        self._store.keep_catalogue(declared, time.time())
        self._loaded, self._noted, self._reason = revision.commit, ("", None), ""
        _log.info("revision %s is in use, with %d problems", revision.commit[:12], len(declared.problems))
        return True

    def _fetch(self) -> tuple[repository.Revision, str]:
        """Fetch the newest revision; returns it with a warning if the history was rewritten."""
        try:
            # After a start the store knows the revision in use, which the history must contain.
            return repository.fetch(self._source, self._checkout, self._loaded or self._commit()), ""
        except repository.Rewritten as error:
            # Workers refuse this until an operator accepts it. The manager only shows what is declared, so it follows.
            todo = "Workers refuse it. If it was intended, run `skipjack follow --accept-rewrite` on each of them."
            return repository.fetch(self._source, self._checkout), f"{error.what} {todo}"

    def _commit(self) -> str | None:
        kept = self._kept()
        return kept.revision if kept else None

    def _kept(self) -> DeclaredConfig | None:
        """Return the configuration in the store; None also when it is damaged, so that it is written again."""
        try:
            return self._store.declared()
        except Damaged as error:
            _log.error("%s", error)
            return None

    def follow_forever(self, announce: Callable[[], None]) -> None:
        """Follow every INTERVAL seconds until `end`, and call `announce` after each change."""
        while not self._ended.is_set():
            self._sees_webhook()  # before the fetch: a webhook that arrives meanwhile starts another one
            try:
                if self.follow():
                    announce()
            except SkipjackError as error:
                _log.error("%s", error)
            except Exception:  # the thread must survive a bug, or the site would keep its configuration for ever
                _log.exception("cannot follow the config repository: this is a bug")
            self._pause()
            # Cleared after the wait: a wake-up during a fetch starts another one, because that one may have been too
            # early.
            self._wake.clear()

    def _pause(self) -> None:
        """Wait for a wake-up, INTERVAL seconds at most."""
        until = time.monotonic() + INTERVAL
        while (left := until - time.monotonic()) > 0:
            if self._wake.wait(min(left, LOOK_EVERY) if self._has_webhook else left) or self._sees_webhook():
                return

    def _sees_webhook(self) -> bool:
        """Return whether there was a webhook since the last call."""
        if not self._has_webhook:
            return False
        try:
            before, self._wake_number = self._wake_number, wake_store.read(self._store)
        except StoreError:  # the next fetch reports it
            return False
        return before != self._wake_number

    def start(self, announce: Callable[[], None]) -> None:
        """Follow in the background until the process ends."""
        # A daemon, since a fetch may take minutes and the program must not wait for it at its end.
        threading.Thread(target=self.follow_forever, args=(announce,), name="follow", daemon=True).start()

    def end(self) -> None:
        """Start no further fetch. One that is running ends by itself, and its result is dropped."""
        self._ended.set()
        self._wake.set()

    def _note(self, revision: str | None, error: SkipjackError | None) -> bool:
        """Log and store why the newest revision is not in use, once per reason; without an error, clear that.

        Returns whether this changed.
        """
        reason = str(error or "")
        if (reason, revision) == self._noted:
            return False
        self._check()
        if error is not None:
            _log.error("%s", reason)
        if revision == _UNREACHABLE:
            self._store.keep_unreachable(reason, time.time())
        else:
            self._store.keep_refused(self._refused(reason, revision) if error else None)
        self._noted, self._reason = (reason, revision), reason
        return True

    def _refused(self, reason: str, revision: str | None) -> Note:
        """Return the note of a refusal; the same refusal keeps the time at which it was first noted."""
        before, _unreachable = self._store.notes()
        same = before is not None and (before.reason, before.revision) == (reason, revision)
        return before if same and before else Note(reason, time.time(), revision)


def _declared(revision: repository.Revision, before: DeclaredConfig | None) -> DeclaredConfig:
    # The schemas of plug-ins are enough: without them their keys would be unknown, and only workers run their code.
    loaded = catalogue.load(revision.files, plugin_search.installed().schemas)
    last_good = before.mirrors if before else ()
    # A quarantined mirror keeps its last valid definition, as it does on its worker.
    kept = tuple(mirror for mirror in last_good if mirror.name in loaded.quarantined)
    return DeclaredConfig(
        revision.commit,
        revision.committed_at,
        loaded.site,
        loaded.workers,
        loaded.mirrors + kept,
        tuple(str(problem) for problem in loaded.problems),
        {name: policy.digest if policy else "" for name, policy in loaded.policies.items()},
    )
