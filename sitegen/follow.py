"""The manager follows the config repository too: what is declared, and how far workers are behind."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from schemas import catalogue, repository
from schemas.errors import SkipjackError
from schemas.records import Repository
from sitegen.messages.model import Declared
from sitegen.storage.damage import Damaged
from sitegen.storage.store import Store, StoreError

INTERVAL = 60.0
"""Seconds between two fetches, unless a worker shows that there is something newer."""

_log = logging.getLogger(__name__)


class Follower:
    """Brings the store's configuration up to the newest revision that can be used."""

    def __init__(
        self, source: Repository, state_dir: str, store: Store, check: Callable[[], None] = lambda: None
    ) -> None:
        self._check = check
        self._ended = threading.Event()
        self._source = source
        self._checkout = Path(state_dir) / "checkout"
        self._store = store
        self._loaded = ""
        self._refusal: str | None = None
        self._heard: frozenset[str] = frozenset()
        self._wake = threading.Event()

    @property
    def refusal(self) -> str:
        """Why the newest revision is not in use; empty when it is."""
        return self._refusal or ""

    def hear(self, revisions: frozenset[str]) -> None:
        """Fetch at once when a worker follows a revision that nobody has mentioned before."""
        if not revisions <= self._heard:
            self._heard |= revisions
            self._wake.set()

    def follow(self) -> bool:
        """Fetch once; True when something changed. What cannot be fetched or used is noted, the old one stays."""
        try:
            revision, rewritten = self._fetch()
            if revision.commit == self._loaded and self._kept() is not None:
                return self._note("")
            declared = _declared(revision, self._kept())
        except StoreError:
            raise
        except SkipjackError as error:
            return self._note(str(error))
        if rewritten:
            _log.warning("%s", rewritten)
            declared = declared._replace(problems=(rewritten, *declared.problems))
        self._check()
        self._store.keep_catalogue(declared, time.time())
        self._loaded, self._refusal = revision.commit, ""
        _log.info("revision %s is in use, with %d problems", revision.commit, len(declared.problems))
        return True

    def _fetch(self) -> tuple[repository.Revision, str]:
        """The newest revision, and what people must know if its history is not the one that was followed so far."""
        try:
            return repository.fetch(self._source, self._checkout, self._loaded or self._commit()), ""
        except repository.Rewritten as error:
            todo = "Workers refuse that: if it was meant, run `skipjack follow --accept-rewrite` on each of them."
            return repository.fetch(self._source, self._checkout), f"{error.what} {todo}"

    def _commit(self) -> str | None:
        kept = self._kept()
        return kept.revision if kept else None

    def _kept(self) -> Declared | None:
        """The configuration in the store; None as well when it cannot be read, so that it is written anew."""
        try:
            return self._store.declared()
        except Damaged as error:
            _log.error("%s", error)
            return None

    def follow_forever(self, announce: Callable[[], None]) -> None:
        """Follow every INTERVAL seconds, until it is ended, and announce it when something changed."""
        while not self._ended.is_set():
            try:
                if self.follow():
                    announce()
            except SkipjackError as error:
                _log.error("%s", error)
            except Exception:
                _log.exception("following the repository failed; this is a bug")
            self._wake.wait(INTERVAL)
            self._wake.clear()

    def start(self, announce: Callable[[], None]) -> None:
        """Follow in the background until the process ends."""
        threading.Thread(target=self.follow_forever, args=(announce,), name="follow", daemon=True).start()

    def end(self) -> None:
        """Begin nothing any more; a fetch that is under way ends by itself and is not used."""
        self._ended.set()
        self._wake.set()

    def _note(self, refusal: str) -> bool:
        """Log and keep why the newest revision is not in use, once for each reason."""
        if refusal == self._refusal:
            return False
        self._check()
        if refusal:
            _log.error("%s", refusal)
        self._store.keep_refusal(refusal)
        self._refusal = refusal
        return True


def _declared(revision: repository.Revision, before: Declared | None) -> Declared:
    loaded = catalogue.load(revision.files)
    last_good = before.mirrors if before else ()
    kept = tuple(mirror for mirror in last_good if mirror.name in loaded.quarantined)
    return Declared(
        revision.commit,
        revision.committed_at,
        loaded.site,
        loaded.workers,
        loaded.mirrors + kept,
        tuple(str(problem) for problem in loaded.problems),
    )
