"""The background threads of a lingering courier, each of which repeats one piece of work."""

import abc
import threading

from schemas import wakeup


class BackgroundThread(threading.Thread, abc.ABC):
    """A thread that calls `work_once` until the program ends."""

    def __init__(self, name: str, run_dir: str) -> None:
        super().__init__(name=name, daemon=True)  # a request that is held must not delay the end of the program
        self._run_dir = run_dir
        self._wake = threading.Event()
        self._failure: BaseException | None = None

    @abc.abstractmethod
    def work_once(self) -> float:
        """Do the work once, and return the seconds until the next time."""

    def run(self) -> None:
        """Work until the program ends. An unexpected error is kept for `raise_failure`, so that it ends the program."""
        try:
            while True:
                pause = self.work_once()
                if pause:
                    self._wake.wait(pause)
                    self._wake.clear()
        # All of them: a thread that ended alone would leave a courier that only seems to work.
        except BaseException as error:
            self._failure = error
            wakeup.send(self._run_dir, wakeup.COURIER)

    def raise_failure(self) -> None:
        """Raise the error that ended the thread, if one did."""
        if self._failure is not None:
            raise self._failure

    def wake(self) -> None:
        """End the pause."""
        self._wake.set()

    def after_delivery(self) -> None:
        """Note that reports were delivered, which may end the pause."""
