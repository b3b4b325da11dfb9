"""What Skipjack needs of a forge, whichever it is."""

import re
from collections.abc import Iterator
from typing import NamedTuple, Protocol

PENDING, SUCCESS, FAILURE = "pending", "success", "failure"
"""The states of a commit."""

STATUS = "skipjack/applied"
"""The name of the status, by which the forge replaces an earlier one."""

LONGEST_STATUS = 140
"""Characters of a status's description that all forges keep."""


class PullRequest(NamedTuple):
    """An open pull request: its number, the commit at its head, and the branch into which it would be merged."""

    number: int
    head: str
    base: str


class PostedComment(NamedTuple):
    """A comment of a pull request. `is_own`: the user of the token wrote it."""

    id: int
    text: str
    is_own: bool


class CommitStatus(NamedTuple):
    """The status of a commit; `description` is short, `url` an address with more about it."""

    state: str
    description: str
    url: str


class Forge(Protocol):
    """A repository on a forge. All methods raise SkipjackError if the forge cannot be reached or denies it."""

    def open_requests(self) -> Iterator[PullRequest]:
        """Yield all open pull requests."""

    def comments(self, number: int) -> Iterator[PostedComment]:
        """Yield the comments of a pull request, oldest first."""

    def post(self, number: int, text: str) -> None:
        """Add a comment to a pull request."""

    def edit(self, number: int, comment: int, text: str) -> None:
        """Replace the text of a comment of a pull request."""

    def changes_checks(self, number: int) -> bool:
        """Return whether a pull request changes the checks that made its plan."""

    def contains(self, revision: str, commit: str) -> bool:
        """Return whether the history of a revision has a commit; False if the forge does not know the revision."""

    def set_status(self, commit: str, status: CommitStatus) -> None:
        """Set the status of a commit."""


def commit_name(value: object) -> str:
    """Return the hash of a commit. Raises ValueError for anything else: it becomes a part of paths and of commands."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", value):
        raise ValueError(f"{value!r} is not the hash of a commit"[:100])
    return value


def number_of(value: object) -> int:
    """Return a number of a pull request or a comment. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} is not a number"[:100])
    return value
