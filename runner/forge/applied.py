"""Follow a merged commit to the workers: poll the JSON of the site, and show the progress as a status of the commit.

The job that runs this has the token of the forge. The manager and the workers have none.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from runner.base.output import log, masked, say
from runner.forge.forge import FAILURE, PENDING, SUCCESS, CommitStatus, Forge, commit_name
from schemas import json_text
from schemas.errors import SkipjackError
from schemas.http_client import ExchangeFailed, HttpClient, Timeouts
from schemas.problems import printable
from schemas.standard_streams import WARNING
from schemas.units import setting_duration

POLL = 15.0
"""Seconds between two looks at the site."""

_TIMEOUTS = Timeouts(10.0, 60.0)
_LARGEST = 128 * 1024**2
_VALUES = 5_000_000
_NAMED = 3
"""Workers that a status names."""


class WorkerRevision(NamedTuple):
    """A worker of the site, the revision that it has in force (None if not known), and whether it is offline."""

    name: str
    revision: str | None
    is_offline: bool


class SiteRevisions(NamedTuple):
    """Who has which revision in force, and which one was rejected, with the reason."""

    workers: tuple[WorkerRevision, ...]
    rejected: str | None
    reason: str


class SiteReader:
    """Reads `status.json` of a site."""

    def __init__(self, url: str, ca_cert: str | None) -> None:
        self.url = masked(url.rstrip("/"))
        self._http = HttpClient(url, ca_cert)

    def read(self) -> SiteRevisions:
        """Return the revisions. SkipjackError if the site cannot be read."""
        place = f"{self.url}/status.json"
        try:
            response = self._http.exchange("GET", "/status.json", _TIMEOUTS, most=_LARGEST)
        except ExchangeFailed as error:
            raise SkipjackError(f"cannot read {place}: {error}.", "Check `--site` and the network.") from error
        if response.status != 200:
            raise SkipjackError(f"cannot read {place}: it answered {response.status}.", "Check `--site`.")
        try:
            return _revisions(json_text.parse(response.body, _VALUES))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SkipjackError(f"{place} is not that of a Skipjack site.", "Check `--site`.") from error


def _revisions(plain: dict[str, object]) -> SiteRevisions:
    workers = plain["workers"]
    if not isinstance(workers, list):
        raise TypeError("not a list")
    # A worker of tunasync has no version; it follows no revision.
    found = tuple(
        WorkerRevision(json_text.text(each["name"]), each["revision"], bool(each["silent"]))
        for each in workers
        if each["version"] != ""
    )
    rejected, reason = plain["refused_revision"], plain["refusal"]
    return SiteRevisions(found, rejected if isinstance(rejected, str) else None, str(reason or ""))


class RolloutWatch:
    """Follows one commit. `clock` returns seconds, `sleep` waits for some."""

    def __init__(
        self, site: SiteReader, forge: Forge, commit: str,
        clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._site, self._forge, self._commit = site, forge, commit
        self._clock, self._sleep = clock, sleep
        self._contains: dict[str, bool] = {commit: True}
        self._shown: CommitStatus | None = None
        self._was_read = False

    def follow(self, wait: float) -> bool:
        """Set the status until all workers have the commit, and return True; False if `wait` seconds were not enough.

        Returns False as well when the manager rejected the commit. SkipjackError if the site was never readable.
        """
        ends = self._clock() + wait
        while True:
            status = self._look()
            left = ends - self._clock()
            if status.state == PENDING and left <= 0:
                status = status._replace(
                    state=FAILURE, description=f"after {setting_duration(int(wait))}: {status.description}"
                )
            self._show(status)
            if status.state != PENDING:
                return status.state == SUCCESS
            self._sleep(min(POLL, left))

    def _look(self) -> CommitStatus:
        try:
            found = self._site.read()
        except SkipjackError as error:
            if not self._was_read:
                raise
            log(str(error), about="forge", level=WARNING)
            return CommitStatus(PENDING, "the site cannot be read", self._site.url)
        self._was_read = True
        return self._status(found)

    def _status(self, site: SiteRevisions) -> CommitStatus:
        page = f"{self._site.url}/workers.html"
        missing = [each for each in site.workers if not self._has(each.revision)]
        count = f"applied on {len(site.workers) - len(missing)} of {len(site.workers)} workers"
        if not site.workers:
            return CommitStatus(PENDING, "no worker has reported yet", page)
        if not missing:
            return CommitStatus(SUCCESS, count, page)
        if site.rejected == self._commit:
            return CommitStatus(FAILURE, f"rejected: {printable(site.reason)}", page)
        return CommitStatus(PENDING, f"{count}; waiting for {_names(missing)}", page)

    def _has(self, revision: str | None) -> bool:
        """Return whether a revision is the commit or a later one. The forge is asked once about each."""
        if revision is None:
            return False
        if revision not in self._contains:
            try:
                self._contains[revision] = self._forge.contains(commit_name(revision), self._commit)
            except ValueError:
                self._contains[revision] = False
        return self._contains[revision]

    def _show(self, status: CommitStatus) -> None:
        if status != self._shown:
            self._forge.set_status(self._commit, status)
            say(status.description)
            self._shown = status


def follow(site: SiteReader, forge: Forge, commit: str, wait: int) -> bool:
    """Follow a commit for `wait` seconds at most: see `RolloutWatch.follow`."""
    return RolloutWatch(site, forge, commit).follow(wait)


def _names(workers: list[WorkerRevision]) -> str:
    named = [f"{printable(each.name)}{' (offline)' if each.is_offline else ''}" for each in workers[:_NAMED]]
    more = len(workers) - len(named)
    return ", ".join([*named, *([f"{more} more"] if more else [])])
