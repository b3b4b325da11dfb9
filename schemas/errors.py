"""The one kind of failure that users are meant to see."""


class SkipjackError(Exception):
    """An expected failure: what happened and where, and what to do next.

    A command's error boundary prints it as one line (two with a remedy) and exits with 1; nothing else is
    ever shown to a user as an error message.
    """

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(f"{what} {todo}".strip())
        self.what = what
        self.todo = todo
