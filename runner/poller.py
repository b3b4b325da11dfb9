"""The thread of a lingering courier that holds a request open, so that commands come as soon as they are given."""

import time

from runner import commands
from runner.aside import Aside
from runner.client import Client
from runner.commands import Here
from runner.output import log
from schemas.errors import SkipjackError

WAIT = 50.0
"""Seconds that the manager may hold a request open."""

AGAIN = 300.0
"""Seconds until a manager that gives no commands is asked again: it may have been updated."""

RETRY_FIRST, RETRY_MOST = 1.0, 60.0
"""Seconds until the next try after a failure; doubled each time."""


class Poller(Aside):
    """Takes commands until the program ends."""

    def __init__(self, here: Here, client: Client, run_dir: str) -> None:
        super().__init__("commands", run_dir)
        self._here, self._client = here, client
        self._pause, self._told = 0.0, ""

    def encourage(self) -> None:
        """Say that the manager can be reached: after a failure it is asked at once."""
        if self._pause:
            self.wake()

    def turn(self) -> float:
        """Ask once; gives the seconds to wait before it is asked again."""
        began = time.monotonic()
        try:
            found = commands.attend(self._here, self._client, WAIT)
        except SkipjackError as error:
            if str(error) != self._told:
                log(f"no commands can be taken: {error}")
            self._told = str(error)
            self._pause = min(max(self._pause * 2, RETRY_FIRST), RETRY_MOST)
            return self._pause
        self._pause, self._told = 0.0, ""
        if found is None:
            return AGAIN
        empty_at_once = not found and time.monotonic() - began < 1
        return 1.0 if empty_at_once else 0.0  # from what holds no request open
