"""Limit the size of an attempt's log: keep its beginning and its end, and mark the cut between them with a line.

Only the run calls it, after each piece of output that it wrote, so only lines from the middle are lost. A program that
writes to the file directly may lose a line that it writes during a cut. Memory use does not depend on the log's size.
"""

import os

LEAST = 64 * 1024
"""Smallest limit in bytes, whatever a definition says."""

_STEP = 1024 * 1024  # bytes that are moved at once, and so the memory that a cut takes
_MARK = "\nskipjack: the log was larger than {limit} bytes; {cut:020} bytes were cut here\n"


class BoundedLog:
    """The log at `path`, which has at most `limit` bytes after each `trim`."""

    def __init__(self, path: str, limit: int) -> None:
        self._path = path
        self._limit = max(LEAST, limit)
        self._head = self._limit // 2
        self._cut = 0

    def trim(self, log: int) -> None:
        """Cut the middle of the log if it is larger than the limit; `log` is the descriptor that writes it.

        Half of the limit is for the beginning, which is never moved. Of the end a quarter is kept, so that one byte is
        moved for every three that are written. Raises OSError.
        """
        size = os.fstat(log).st_size
        if size <= self._limit:
            return
        # `log` is opened for appending, so Linux would ignore the offset of a pwrite on it.
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
    """Return where the next line begins after `at`, or `at` itself if no line begins within 4 KiB."""
    return at + os.pread(handle, 4096, at).find(b"\n") + 1
