"""Keeps an attempt's log below its largest size: its beginning and its end stay, and a line marks what was cut between.

The run alone calls it, after each piece of output that it wrote, so no line is lost but those that are cut. A program
may write to the file itself as well: the run looks at the size from time to time, and a line that is written in the
moment of a cut is lost. Memory does not depend on the log's size.
"""

import os

LEAST = 64 * 1024
"""Bytes below which no log is cut, whatever a definition says."""

_STEP = 1024 * 1024
_MARK = "\nskipjack: the log was larger than {limit} bytes; {cut:020} bytes were cut here\n"


class BoundedLog:
    """The log at `path`, of `limit` bytes at most once `trim` has returned."""

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._limit = max(LEAST, limit)
        self._head = self._limit // 2
        self._cut = 0

    def trim(self, log: int) -> None:
        """Cut the middle of the log that the descriptor `log` writes when it has grown too large.

        Half of it is the beginning. Of the rest a quarter is kept, so that a byte is moved for every three that come.
        Raises OSError.
        """
        size = os.fstat(log).st_size
        if size <= self._limit:
            return
        handle = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            self._remove_middle(handle, size)
        finally:
            os.close(handle)

    def _remove_middle(self, handle: int, size: int) -> None:
        marked = len(_MARK.format(limit=self._limit, cut=0)) if self._cut else 0
        keep_from = _line_start(handle, size - self._head // 4)
        self._cut += keep_from - self._head - marked
        place = self._head
        place += os.pwrite(handle, _MARK.format(limit=self._limit, cut=self._cut).encode(), place)
        while data := os.pread(handle, _STEP, keep_from):
            place += os.pwrite(handle, data, place)
            keep_from += len(data)
        os.ftruncate(handle, place)


def _line_start(handle: int, at: int) -> int:
    """Where the next line begins; `at` itself when it is too far away."""
    return at + os.pread(handle, 4096, at).find(b"\n") + 1
