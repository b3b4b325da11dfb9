"""Exponential back-off: how long to wait after each of several failures in a row.

A `Backoff` counts the failures of a running program. Where a file or the journal has the count, `doubled` is enough.
"""

DOUBLINGS = 20
"""A limit for shifts, since a damaged file may contain any count: a minute doubled 20 times is two years."""


def doubled(first: int, failures: int) -> int:
    """Return a delay in seconds: `first`, doubled by each failure after the first."""
    return first << min(max(0, failures - 1), DOUBLINGS)


class Backoff:
    """Delays in seconds: `first`, doubled by each further failure, up to `most`."""

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._last = 0.0

    def after_failure(self) -> float:
        """Count one more failure and return the seconds to wait."""
        self._last = min(max(self._last * 2, self._first), self._most)
        return self._last

    def reset(self) -> None:
        """Start again with the first delay."""
        self._last = 0.0

    @property
    def has_failed(self) -> bool:
        """Whether the last attempt failed."""
        return self._last > 0
