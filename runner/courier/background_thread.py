"""Threads of a lingering courier, each of which does one thing again and again."""

import threading

from runner.base import wakeup


class Aside(threading.Thread):
    """Does `turn` again and again until the program ends."""

    def __init__(self, name: str, run_dir: str) -> None:
        super().__init__(name=name, daemon=True)
        self._run_dir = run_dir
        self._wake = threading.Event()
        self._failure: BaseException | None = None

    def turn(self) -> float:
        """Do it once, and give the seconds until the next time."""
        raise NotImplementedError

    def run(self) -> None:
        """Go on; what should not happen ends the program, and not this thread alone."""
        try:
            while True:
                pause = self.turn()
                if pause:
                    self._wake.wait(pause)
                    self._wake.clear()
        except BaseException as error:
            self._failure = error
            wakeup.wake_courier(self._run_dir)

    def check(self) -> None:
        """Raise what the thread died of, if it did."""
        if self._failure is not None:
            raise self._failure

    def wake(self) -> None:
        """End the pause."""
        self._wake.set()

    def encourage(self) -> None:
        """Hear that reports were delivered, which may be a reason to end the pause."""
