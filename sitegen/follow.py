"""The manager follows the config repository too: what is declared, and how far workers are behind."""

import logging
import threading
import time
from pathlib import Path

from schemas import catalogue, repository
from schemas.errors import SkipjackError
from schemas.records import Repository
from sitegen.model import Declared
from sitegen.poke import Poker
from sitegen.store import Store

INTERVAL = 60.0
"""Seconds between two fetches."""

_log = logging.getLogger(__name__)


class Follower:
    """Brings the store's configuration up to the newest revision that can be used."""

    def __init__(self, source: Repository, state_dir: str, store: Store) -> None:
        self._source = source
        self._checkout = Path(state_dir) / "checkout"
        self._store = store
        self._loaded = ""
        self._refusal: str | None = None

    def follow(self) -> bool:
        """Fetch once; True when something changed. What cannot be fetched or used is noted, the old one stays."""
        try:
            revision = repository.fetch(self._source, self._checkout)
            if revision.commit == self._loaded:
                return self._note("")
            declared = _declared(revision, self._store.declared())
        except SkipjackError as error:
            return self._note(str(error))
        self._store.keep_catalogue(declared, time.time())
        self._loaded, self._refusal = revision.commit, ""
        _log.info("revision %s is in use, with %d problems", revision.commit, len(declared.problems))
        return True

    def follow_forever(self, poke: Poker) -> None:
        """Follow every INTERVAL seconds and wake the publisher when something changed."""
        while True:
            try:
                if self.follow():
                    poke()
            except SkipjackError as error:
                _log.error("%s", error)
            except Exception:
                _log.exception("following the repository failed; this is a bug")
            time.sleep(INTERVAL)

    def start(self, poke: Poker) -> None:
        """Follow in the background until the process ends."""
        threading.Thread(target=self.follow_forever, args=(poke,), name="follow", daemon=True).start()

    def _note(self, refusal: str) -> bool:
        """Log and keep why the newest revision is not in use, once for each reason."""
        if refusal == self._refusal:
            return False
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
