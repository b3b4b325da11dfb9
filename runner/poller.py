"""The thread of a lingering courier that holds a request open, so that commands come as soon as they are given."""

import threading
import time

from runner import bell, commands
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


class Poller(threading.Thread):
    """Takes commands until the program ends."""

    def __init__(self, here: Here, client: Client, run_dir: str) -> None:
        super().__init__(name="commands", daemon=True)
        self._here, self._client, self._run_dir = here, client, run_dir
        self._wake = threading.Event()
        self._failure: BaseException | None = None
        self._pause, self._told = 0.0, ""

    def run(self) -> None:
        """Ask for commands again and again; what should not happen ends the program, and not this thread alone."""
        try:
            while True:
                pause = self._attend()
                if pause:
                    self._wake.wait(pause)
                    self._wake.clear()
        except BaseException as error:
            self._failure = error
            bell.ring(self._run_dir)

    def check(self) -> None:
        """Raise what the thread died of, if it did."""
        if self._failure is not None:
            raise self._failure

    def encourage(self) -> None:
        """Say that the manager can be reached: after a failure it is asked at once."""
        if self._pause:
            self._wake.set()

    def _attend(self) -> float:
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
