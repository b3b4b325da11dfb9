"""A thread that works as long as a `with` block lasts."""

import abc
import contextlib
import threading
from typing import Self


class ScopedThread(abc.ABC):
    """Runs `_work` in a thread from enter to exit; the exit asks it to end and waits, at most `patience` seconds.

    With `daemon` the program can end without it, as when `patience` was too short.
    """

    def __init__(self, name: str, *, daemon: bool = True, patience: float | None = None) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name=name, daemon=daemon)
        self._patience = patience

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def enter_in(self, stack: contextlib.ExitStack) -> Self:
        """Enter for as long as `stack` lasts.

        The stack knows the exit before the thread starts: a signal's exception in between, as while `start` waits for
        the thread, would leave a thread that nothing ends, and the process would wait for it forever.
        """
        stack.push(self)
        return self.__enter__()

    def __exit__(self, *_exception: object) -> None:
        self._end()
        if self._thread.is_alive():  # not if its start was interrupted
            self._thread.join(self._patience)

    @abc.abstractmethod
    def _work(self) -> None:
        """Work until `_end` is called."""

    def _end(self) -> None:
        """Make `_work` return soon."""
        self._ended.set()
