"""Batches of reports, in a form that the manager takes.

A manager that rejects what a request holds gets half as much, down to a single report. That one it gets within the
bounds that this release knows, then without details, and last as a number that tells nothing. Only when it takes that,
and so rejects the report and not this worker, the report is given up, and the rest goes on.
"""

import time
from collections.abc import Iterator
from typing import Any

from runner.base.output import log
from runner.base.state_dir import StateLayout
from runner.courier.client import Answer, Client, Rejected, TooLarge
from runner.courier.report_forms import bounded_report, emptied, parts, without_details
from runner.journal import rejected_reports
from runner.journal.journal import Journal
from schemas.report import Envelope, encode_envelope
from schemas.standard_streams import ERROR, WARNING

BATCH = 500
BATCH_BYTES = 4 * 1024**2
"""At most this many reports, and about this many bytes of them, go into one request."""

GIVEN_UP = 10
"""Reports that one delivery gives up at most. A manager that rejects more is asked ever more seldom: somebody should
see that before much is lost."""

_Report = dict[str, Any]


class Batches:
    """Sends the reports that wait in a journal, during one delivery."""

    def __init__(self, client: Client, book: Journal, layout: StateLayout) -> None:
        self._client, self._book, self._layout = client, book, layout
        self._most = self._limit = BATCH
        self._given_up = 0

    def send(self, envelope: Envelope) -> tuple[list[_Report], Answer]:
        """Send the oldest reports, or a sign of life if there are none; gives them as they are in the outbox.

        SkipjackError when they were not taken.
        """
        while True:
            reports = self._book.outbox(self._most, BATCH_BYTES)
            try:
                answer = self._send(envelope, reports)
            except Rejected as error:
                if len(reports) < 2:
                    return reports, self._in_another_form(envelope, reports, error)
                self._most = len(reports) // 2
                if isinstance(error, TooLarge):
                    self._limit = self._most
            else:
                self._most = min(2 * self._most, self._limit)
                return reports, answer

    def _send(self, envelope: Envelope, reports: list[_Report]) -> Answer:
        return self._client.send(encode_envelope(envelope, reports))

    def _in_another_form(self, envelope: Envelope, reports: list[_Report], error: Rejected) -> Answer:
        """Send one report, or none, in a form that is taken; Rejected as before when there is no such form."""
        for whole in (envelope, envelope._replace(problems=(), progress=())):
            for form in self._forms(reports):
                if whole == envelope and form == reports:
                    continue  # that is what was rejected
                try:
                    answer = self._send(whole, form)
                except Rejected:
                    continue
                if whole != envelope:
                    self._tell("the worker's problems and progress, which are not shown there", error)
                if reports and reports[0]["number"] <= answer.acknowledged <= self._book.newest():
                    self._close(reports[0], form[0], error)
                return answer
        raise error

    def _forms(self, reports: list[_Report]) -> Iterator[list[_Report]]:
        """The forms of one report, each telling less than the one before; or the one form of none."""
        if not reports:
            yield []
        for report in reports:
            yield [bounded_report(report)]
            if parts(report) == 1:  # several are divided instead: most of them may be taken as they are
                yield [without_details(report)]
                if self._given_up >= GIVEN_UP:
                    continue
            if parts(report):
                yield [emptied(report)]

    def _close(self, report: _Report, form: _Report, error: Rejected) -> None:
        """Settle what was not told of a report whose number the manager has acknowledged."""
        self._limit = BATCH
        if form == bounded_report(report):
            return
        if parts(form):
            self._tell(f"{_words(report)}, which was sent without details", error)
        elif parts(report) > 1:
            what = f"the manager rejects {_words(report)}, so each part is sent alone: {error.what}"
            log(what, about="courier", level=WARNING)
            self._book.divide(report, time.time())
        else:
            self._given_up += 1
            self._tell(f"{_words(report)}, which was given up", error)

    def _tell(self, what: str, error: Rejected) -> None:
        if rejected_reports.add(self._layout, what, error.what, time.time()):
            log(f"the manager rejects {what}: {error.what}", about="courier", level=ERROR)


def _words(report: _Report) -> str:
    """A report in words: its number, and what it tells if that is one thing."""
    words = f"report {report['number']}"
    if parts(report) != 1:
        return f"{words} ({parts(report)} states and runs)"
    told = [(each["mirror"], each["run"], each["status"]) for each in report["statuses"]]
    mirror, run, status = [*told, *((run["mirror"], run, run["status"]) for run in report.get("runs", ()))][0]
    return f"{words} ({mirror}: {status}, run {run['id']})" if run else f"{words} ({mirror}: {status})"
