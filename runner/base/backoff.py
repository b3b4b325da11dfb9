"""How long to wait after failures: pauses that grow, so that no server is asked in a storm."""


class Backoff:
    """Seconds to wait after each of several failures in a row: `first`, then twice as long each time, up to `most`."""

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._last = 0.0

    def after_failure(self) -> float:
        """Return the seconds to wait after one more failure."""
        self._last = min(max(self._last * 2, self._first), self._most)
        return self._last

    def reset(self) -> None:
        """Begin again with the first pause."""
        self._last = 0.0

    @property
    def has_failed(self) -> bool:
        """Whether the last attempt failed."""
        return self._last > 0
