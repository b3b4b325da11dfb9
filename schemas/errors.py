"""The exception for failures that users see."""


class SkipjackError(Exception):
    """An expected failure: what failed and why, and what to do.

    The error boundary of a command prints it and exits with 1. Any other exception is a bug.
    """

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(f"{what} {todo}".strip())
        self.what = what
        self.todo = todo
