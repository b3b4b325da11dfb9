"""The exception for failures that users see."""

from collections.abc import Iterator


class SkipjackError(Exception):
    """An expected failure: what failed and why, and what to do.

    The error boundary of a command prints it and exits with 1. Any other exception is a bug.
    """

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(f"{what} {todo}".strip())
        self.what = what
        self.todo = todo


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # an error can be its own cause
        seen.add(id(error))
        yield error
        error = error.__cause__
