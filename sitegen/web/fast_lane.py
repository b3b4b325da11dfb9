"""The short way of a report whose worker has shown its token a moment ago.

Almost every request is one of these, and tasks, rate limits, routing and the wrapping of answers would cost as much as
all that is done with it. What is kept is answered here; whatever is not as usual takes the long way, which has the
same checks and all the words.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.types import Scope

from sitegen.messages.model import Answer
from sitegen.web import answers
from sitegen.web.access import Access
from sitegen.web.api_reports import LARGE, PATH, Reports
from sitegen.web.waiting import NotKept

Answered = Callable[[Any], None]
"""Takes the JSON of a report that was kept, or an application that answers in its place."""


class FastLane:
    """Takes what comes whole; for the event loop's thread."""

    def __init__(self, reports: Reports, access: Access, body_limit: int) -> None:
        self._reports = reports
        self._access = access
        self._largest = min(LARGE - 1, body_limit)

    def worker(self, scope: Scope) -> str | None:
        """The worker whose report this is, if it may go the short way."""
        if scope["path"] != PATH or scope["method"] != "POST":
            return None
        return self._access.remembered_worker(Request(scope))

    def take(self, worker: str, body: bytes, answered: Answered) -> bool:
        """Keep a body and have it answered once it is on disk, or give it back."""
        if len(body) > self._largest or not self._reports.knows_revision():
            return False
        try:
            self._reports.put(body, worker, partial(self._answer, answered))
        except Exception:
            return False  # the same will happen there, and be told
        return True

    def _answer(self, answered: Answered, answer: Answer | NotKept) -> None:
        if isinstance(answer, NotKept):
            answered(answers.not_kept(answer))
        else:
            answered(self._reports.told(answer))
