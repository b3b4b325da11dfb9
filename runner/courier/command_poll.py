"""The thread of a lingering courier that holds a request open, so that commands come as soon as they are given."""

import time
from collections.abc import Callable

from runner.base.backoff import Backoff
from runner.base.output import log
from runner.courier import commands
from runner.courier.background_thread import Aside
from runner.courier.client import Client, Misbehaves, Rejected
from runner.courier.commands import Here
from schemas.errors import SkipjackError
from schemas.standard_streams import ERROR

WAIT = 50.0
"""Seconds that the manager may hold a request open."""

AGAIN = 300.0
"""Seconds until a manager that gives no commands is asked again: it may have been updated."""

RETRY_FIRST, RETRY_MOST = 1.0, 60.0
"""Seconds until the next try after a failure; doubled each time."""

STRANGE_MOST = 600.0
"""Seconds until the next try at most, where what answers does not keep to the protocol."""

UNHELD_MOST = 10.0
"""Seconds at most until a manager is asked again that answers at once although it has nothing new."""

BURST, EACH = 20, 3.0
"""Answers with new commands that are taken one after the other, and the seconds between those beyond: a person gives
fewer, and a manager that gives commands without end must not keep the machine busy."""


class Poller(Aside):
    """Takes commands until the program ends."""

    def __init__(self, here: Here, client: Client, run_dir: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("commands", run_dir)
        self._here, self._client, self._clock = here, client, clock
        self._failures, self._strange = Backoff(RETRY_FIRST, RETRY_MOST), Backoff(RETRY_FIRST, STRANGE_MOST)
        self._unheld = Backoff(RETRY_FIRST, UNHELD_MOST)
        self._told, self._in_a_row = "", 0

    def encourage(self) -> None:
        """Say that the manager can be reached: after a failure it is asked at once."""
        if self._failures.has_failed:
            self.wake()

    def turn(self) -> float:
        """Ask once; gives the seconds to wait before it is asked again."""
        began = self._clock()
        try:
            found = commands.attend(self._here, self._client, WAIT)
        except SkipjackError as error:
            if str(error) != self._told:
                log(f"no commands can be taken: {error}", about="courier", level=ERROR)
            self._told = str(error)
            return (self._strange if isinstance(error, Misbehaves | Rejected) else self._failures).after_failure()
        self._failures.reset()
        self._strange.reset()
        self._told = ""
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
