"""Delivery of the outbox to a manager of tunasync, as its own workers report.

That manager stamps a start, a success and an end with the time at which it receives them. So each is sent once and in
order, and a report that is not such an event is sent in another way: a size that was measured later as a size, a mirror
that was enabled again as `none` until its next run. Each status deletes the time of the next start, so it is sent last.
"""

import json
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from runner.base.output import head, log
from runner.base.state_dir import StateLayout
from runner.courier.client import (
    MALFORMED,
    ProtocolViolation,
    Rejected,
    is_about_content,
    status_remedy,
    unreachable_remedy,
)
from runner.journal import journal, rejected_reports
from runner.journal.journal import Journal
from runner.overrides import hold
from schemas import json_text
from schemas.addresses import without_secrets
from schemas.errors import SkipjackError
from schemas.http_client import ExchangeFailed, HttpClient, ResponseTooLarge, Timeouts
from schemas.records import ManagerAddress, RunnerSettings
from schemas.report import MirrorStatus, decode_status
from schemas.standard_streams import ERROR
from schemas.states import DISABLED, ENDS, FAILED, LAUNCHING, NONE, PAUSED, PRE_SYNCING, QUEUED, SYNCING, TO_TUNASYNC
from schemas.units import tunasync_size

TIMEOUTS = Timeouts(5.0, 30.0)

BATCH, BATCH_BYTES = 500, 4 * 1024**2

LARGEST_LIST, LIST_VALUES = 16 * 1024**2, 500_000
"""Bytes and JSON values at most in the list of a worker's jobs: 20,000 jobs have 300,000 values in 10 MiB."""

LARGEST, VALUES = 1024**2, 1_000
"""Bytes and JSON values at most in any other response; most of them repeat the request."""

_ZERO = "0001-01-01T00:00:00Z"
_NEVER = dict.fromkeys(("last_update", "last_started", "last_ended", "next_schedule"), _ZERO)
_NOT_BEGUN = frozenset({QUEUED, LAUNCHING})
"""tunasync has no status for a wait: it would take these for the start."""

_AT_WORK = frozenset({PRE_SYNCING, SYNCING})
_HELD = frozenset({PAUSED, DISABLED})


class TunasyncManager:
    """A manager of tunasync, and the status that it shows of each mirror of this worker."""

    def __init__(self, address: ManagerAddress, settings: RunnerSettings) -> None:
        self._address = address
        self._url, self._worker = without_secrets(address.url.rstrip("/")), settings.worker
        self._places, self._held = StateLayout(settings.state_dir), settings.held
        self._http = HttpClient(address.url, address.ca_cert)
        self._shown: dict[str, str] | None = None

    def deliver(self) -> int:
        """Send the outbox, and the times of the next starts as a heartbeat; return the number of reports.

        A held worker sends nothing: registering would cut the manager off from tunasync's own worker of that name,
        which may still be running.
        """
        if hold.holds(self._places, unplanned=self._held):
            return 0
        try:
            with journal.opened(self._places.journal) as book:
                # read each time, since `tunasynctl` marks a job as paused without asking its worker
                shown = self._shown = self._register() if self._shown is None else self._list()
                delivered = self._drain(book, shown)
                for status in book.statuses():
                    if _is_false(status, shown.get(status.mirror)):
                        self._send_if_due(status, shown, news=False)
                self._send_schedules(book)
                book.give_back()
                return delivered
        except SkipjackError:
            self._shown = None  # it may have lost its database, so register again
            raise

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def _register(self) -> dict[str, str]:
        """Register, and return the status that it shows of each mirror."""
        never = {"last_online": _ZERO, "last_register": _ZERO}
        # No URL: that manager would send its commands there, and a worker opens no port.
        self._ask("POST", "/workers", {"id": self._worker, "url": "", "token": ""} | never)
        return self._list()

    def _list(self) -> dict[str, str]:
        """Return the status that it shows of each mirror."""
        path = f"/workers/{quote(self._worker)}/jobs"
        try:
            return {str(job["name"]): str(job["status"]) for job in self._ask("GET", path) or []}
        except MALFORMED as error:
            raise self._not_a_manager(path) from error

    def _drain(self, book: Journal, shown: dict[str, str]) -> int:
        delivered = 0
        while reports := book.outbox.oldest(BATCH, BATCH_BYTES):
            for report in reports:
                for status in map(decode_status, report["statuses"]):
                    self._send_if_due(status, shown, news=_is_news(status, report["made_at"]))
                # After each report, since the manager stamps a status with the time of its receipt: after an
                # interruption none may be sent twice.
                if report["statuses"]:
                    book.outbox.acknowledge(report["number"])
            book.outbox.acknowledge(reports[-1]["number"])
            delivered += len(reports)
        return delivered

    def _send_if_due(self, status: MirrorStatus, shown: dict[str, str], *, news: bool) -> None:
        """Send a mirror's status. One that is not `news` is sent only where the manager shows something else."""
        name = status.mirror
        if _waits(status) and shown.get(name) == FAILED:
            return
        if news and status.status in ENDS and shown.get(name) not in _AT_WORK:
            self._send_status(status, PRE_SYNCING, shown)  # without which it records no start
        if news or status.status in _HELD:
            self._send_status(status, _word(status), shown)
        elif status.status in _AT_WORK:
            if shown.get(name) not in _AT_WORK:
                self._send_status(status, PRE_SYNCING, shown)
            if shown[name] != _word(status):
                self._send_status(status, _word(status), shown)
        elif (name not in shown or shown[name] in _HELD) and status.status not in _NOT_BEGUN:
            self._send_status(status, NONE, shown)
        elif status.status in ENDS and status.size is not None:
            self._ask("POST", f"{self._job(name)}/size", {"name": name, "size": tunasync_size(status.size)})

    def _send_status(self, status: MirrorStatus, word: str, shown: dict[str, str]) -> None:
        of_run = TO_TUNASYNC[status.run.status] if status.run and not _waits(status) else _word(status)
        reason = status.run.reason if status.run and word == of_run else ""
        fields = {"name": status.mirror, "worker": self._worker, "is_master": status.is_master, "status": word}
        upstream, reason = without_secrets(status.upstream), without_secrets(reason)
        more = {"upstream": upstream, "size": tunasync_size(status.size), "error_msg": reason}
        try:
            # It sets the times itself; Go's zero time means that this report has none.
            self._ask("POST", self._job(status.mirror), fields | _NEVER | more)
        except Rejected as error:
            if not (upstream or reason):
                raise
            self._ask("POST", self._job(status.mirror), fields | _NEVER | more | {"upstream": "", "error_msg": ""})
            what = f"the status of {status.mirror}, which was sent without its upstream and its reason"
            if rejected_reports.add(self._places, what, error.what, time.time()):
                log(f"the manager rejects {what}: {error.what}", about="courier", level=ERROR)
        shown[status.mirror] = word

    def _send_schedules(self, book: Journal) -> None:
        schedules = [
            {"name": status.mirror, "next_schedule": _rfc3339(status.next_run_at)}
            for status in book.statuses()
            if status.next_run_at is not None
        ]
        self._ask("POST", f"/workers/{quote(self._worker)}/schedules", {"schedules": schedules})

    def _job(self, mirror: str) -> str:
        return f"/workers/{quote(self._worker)}/jobs/{quote(mirror)}"

    def _ask(self, method: str, path: str, content: Any = None) -> Any:
        body = None if content is None else json.dumps(content, separators=(",", ":")).encode()
        where = f"the manager at {self._url}{path}"
        most, values = (LARGEST_LIST, LIST_VALUES) if method == "GET" else (LARGEST, VALUES)
        try:
            response = self._http.exchange(method, path, TIMEOUTS, body=body, headers=_HEADERS, most=most)
        except ResponseTooLarge as error:
            raise self._not_a_manager(path) from error
        except ExchangeFailed as error:
            what = f"cannot reach the manager at {self._url}{path}: {error}."
            raise SkipjackError(what, unreachable_remedy(error, self._address)) from error
        if response.status != 200:
            said = head(" ".join(response.body[:4000].decode("utf-8", "replace").split()), 300)
            kind = Rejected if is_about_content(response) else SkipjackError
            raise kind(f"{where} answered {response.status}: {said}.", status_remedy(response.status, response.body))
        try:
            return json_text.parse(response.body, values)
        except MALFORMED as error:
            raise self._not_a_manager(path) from error

    def _not_a_manager(self, path: str) -> ProtocolViolation:
        todo = "Check `manager.url` in the settings."
        return ProtocolViolation(f"the server at {self._url}{path} is not a tunasync manager.", todo)


_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}


def _waits(status: MirrorStatus) -> bool:
    """Return whether a run waits for its next attempt."""
    return status.status == PRE_SYNCING and status.run is not None and status.run.attempts > 0


def _word(status: MirrorStatus) -> str:
    """Return tunasync's word for a status.

    Its own workers send `failed` between two attempts; a second `pre-syncing` would move the start of the run.
    """
    return FAILED if _waits(status) else TO_TUNASYNC[status.status]


def _is_false(status: MirrorStatus, word: str | None) -> bool:
    """Return whether the shown status is wrong: it is missing, or differs in a pause, a disable or a run."""
    if word is None:
        return True
    if status.status in _AT_WORK:
        return word not in _AT_WORK and not (_waits(status) and word == FAILED)
    return (word in _HELD or status.status in _HELD) and word != TO_TUNASYNC[status.status]


def _is_news(status: MirrorStatus, made_at: float) -> bool:
    """Return whether a report is an event that the manager stamps with the time: a step of a run, or its end."""
    if status.status in ENDS:
        return status.last_ended_at == made_at
    return status.status not in _NOT_BEGUN and status.status != NONE


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
