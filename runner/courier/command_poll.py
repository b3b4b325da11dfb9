"""The thread of a lingering courier that fetches commands by long polling, so that they arrive at once."""

import time
from collections.abc import Callable

from runner.base.output import log
from runner.courier import commands
from runner.courier.background_thread import BackgroundThread
from runner.courier.client import ManagerClient, ProtocolViolation, Rejected
from runner.courier.commands import WorkerContext
from schemas.backoff import Backoff
from schemas.errors import SkipjackError
from schemas.standard_streams import ERROR

WAIT = 50.0
"""Seconds for which the manager may hold a request until there is a command."""

AGAIN = 300.0
"""Seconds until a manager without commands is asked again: it may have been upgraded."""

RETRY_FIRST, RETRY_MOST = 1.0, 60.0
"""Seconds until the next try after a failure: doubled each time, up to the second."""

PROTOCOL_MOST = 600.0
"""Seconds until the next try at most when the server does not keep to the protocol."""

UNHELD_MOST = 10.0
"""Seconds at most until the next request to a manager that answers at once without a command."""

BURST, EACH = 20, 3.0
"""Responses with new commands in a row that are fetched without a pause, and the seconds between further ones. People
give fewer commands; a manager that gives them without end must not keep the machine busy."""


class CommandPoller(BackgroundThread):
    """Fetches and executes commands until the program ends."""

    def __init__(
        self, here: WorkerContext, client: ManagerClient, run_dir: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__("commands", run_dir)
        self._here, self._client, self._clock = here, client, clock
        self._failures, self._protocol_failures = Backoff(RETRY_FIRST, RETRY_MOST), Backoff(RETRY_FIRST, PROTOCOL_MOST)
        self._reloads, self._wake_number = commands.ReloadLimit(clock), commands.WakeNumber()
        self._unheld = Backoff(RETRY_FIRST, UNHELD_MOST)
        self._last_error, self._in_a_row = "", 0

    def after_delivery(self) -> None:
        """Ask at once after a failure, since the manager is reachable again."""
        if self._failures.has_failed:
            self.wake()

    def work_once(self) -> float:
        """Ask once, and return the seconds until the next request."""
        began = self._clock()
        try:
            found = commands.fetch_and_execute(self._here, self._client, WAIT, self._reloads, self._wake_number)
        except SkipjackError as error:
            # Once for each reason: the same failure repeats every minute.
            if str(error) != self._last_error:
                log(f"cannot fetch commands: {error}", about="courier", level=ERROR)
            self._last_error = str(error)
            lasting = isinstance(error, ProtocolViolation | Rejected)
            return (self._protocol_failures if lasting else self._failures).after_failure()
        self._failures.reset()
        self._protocol_failures.reset()
        self._last_error = ""
        if found is None:
            return AGAIN
        if found:
            self._in_a_row += 1
            return EACH if self._in_a_row > BURST else 0.0
        if self._clock() - began < 1:
            return self._unheld.after_failure()
        self._unheld.reset()
        self._in_a_row = 0
        return 0.0
