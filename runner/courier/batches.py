"""Batches of reports, in a form that the manager accepts.

When the manager rejects the content of a request, it gets half of the reports, down to a single one. That one is sent
within the bounds of this release, then without details, and last with its number alone. Only when the manager accepts
that, and so rejects this report and not this worker, the report is given up, and the others follow.
"""

import time
from collections.abc import Iterator
from typing import Any

from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.courier.client import Acknowledgement, ManagerClient, Rejected, TooLarge
from runner.courier.report_forms import bounded_report, emptied, parts, without_details
from runner.journal import rejected_reports
from runner.journal.journal import Journal
from schemas.report import Envelope, encode_envelope
from schemas.standard_streams import ERROR, WARNING

BATCH = 500
BATCH_BYTES = 4 * 1024**2
"""Reports, and about how many bytes of them, that go into one request at most: a quarter of a manager's default
`body_limit`."""

GIVEN_UP = 10
"""Reports that one delivery gives up at most. Further ones are failures that back off, so that an admin can see the
problem before much is lost."""

_PlainReport = dict[str, Any]


class Batches:
    """The requests of one delivery, which send the reports of a journal's outbox."""

    def __init__(self, client: ManagerClient, book: Journal, layout: StateLayout) -> None:
        self._client, self._book, self._layout = client, book, layout
        self._most = self._limit = BATCH
        self._given_up = 0

    def send(self, envelope: Envelope) -> tuple[list[_PlainReport], Acknowledgement]:
        """Send the oldest reports, or a heartbeat if there are none; return them as they are in the outbox.

        SkipjackError when the manager accepted no form of them.
        """
        while True:
            reports = self._book.outbox.oldest(self._most, BATCH_BYTES)
            try:
                answer = self._send(envelope, reports)
            except Rejected as error:
                if len(reports) < 2:
                    return reports, self._in_another_form(envelope, reports, error)
                self._most = len(reports) // 2
                if isinstance(error, TooLarge):
                    self._limit = self._most
            else:
                # Larger ones are tried again, since one report may have been the cause; but none that was too large.
                self._most = min(2 * self._most, self._limit)
                return reports, answer

    def _send(self, envelope: Envelope, reports: list[_PlainReport]) -> Acknowledgement:
        return self._client.send(encode_envelope(envelope, reports))

    def _in_another_form(self, envelope: Envelope, reports: list[_PlainReport], error: Rejected) -> Acknowledgement:
        """Send one report, or none, in a form that is accepted; raise `error` when there is no such form."""
        # The worker's problems and progress last: the manager needs them more than the details of one report.
        for whole in (envelope, envelope._replace(problems=(), progress=())):
            for form in self._forms(reports):
                if whole == envelope and form == reports:
                    continue  # this one was rejected already
                try:
                    answer = self._send(whole, form)
                except Rejected:  # the next form has less content
                    continue
                if whole != envelope:
                    self._log_rejection("the worker's problems and progress, which are not shown there", error)
                if reports and reports[0]["number"] <= answer.acknowledged <= self._book.outbox.newest():
                    self._close(reports[0], form[0], error)
                return answer
        raise error

    def _forms(self, reports: list[_PlainReport]) -> Iterator[list[_PlainReport]]:
        """Return the forms of one report, each with less content than the one before; for no report, one form."""
        if not reports:
            yield []
        for report in reports:
            yield [bounded_report(report)]
            if parts(report) == 1:  # one with several parts is divided instead: most parts may be accepted as they are
                yield [without_details(report)]
                if self._given_up >= GIVEN_UP:
                    continue
            if parts(report):
                yield [emptied(report)]

    def _close(self, report: _PlainReport, form: _PlainReport, error: Rejected) -> None:
        """Log, divide or give up what the manager did not get of a report that it has acknowledged."""
        self._limit = BATCH
        if form == bounded_report(report):
            return
        if parts(form):
            self._log_rejection(f"{_description(report)}, which was sent without details", error)
        elif parts(report) > 1:
            what = f"the manager rejects {_description(report)}, so each part is sent alone: {error.what}"
            log(what, about="courier", level=WARNING)
            self._book.outbox.divide(report, time.time())
        else:
            self._given_up += 1
            self._log_rejection(f"{_description(report)}, which was given up", error)

    def _log_rejection(self, what: str, error: Rejected) -> None:
        if rejected_reports.add(self._layout, what, error.what, time.time()):
            log(f"the manager rejects {what}: {error.what}", about="courier", level=ERROR)


def _description(report: _PlainReport) -> str:
    """Return a report in words: its number, and its mirror and status if it has only one."""
    words = f"report {report['number']}"
    if parts(report) != 1:
        return f"{words} ({parts(report)} states and runs)"
    found = [(each["mirror"], each["run"], each["status"]) for each in report["statuses"]]
    mirror, run, status = [*found, *((run["mirror"], run, run["status"]) for run in report.get("runs", ()))][0]
    return f"{words} ({mirror}: {status}, run {run['id']})" if run else f"{words} ({mirror}: {status})"
