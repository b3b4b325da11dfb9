"""A thread that works as long as a `with` block lasts."""

import abc
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

    def __exit__(self, *_exception: object) -> None:
        self._end()
        self._thread.join(self._patience)

    @abc.abstractmethod
    def _work(self) -> None:
        """Work until `_end` is called."""

    def _end(self) -> None:
        """Make `_work` return soon."""
        self._ended.set()
