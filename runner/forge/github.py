"""The REST API of GitHub, and of GitHub Enterprise Server."""

from collections.abc import Iterator, Mapping
from typing import Any

from runner.forge.forge import LONGEST_STATUS, STATUS, CommitStatus, PostedComment, PullRequest, commit_name, number_of
from runner.forge.place import ForgePlace
from runner.forge.rest_api import ForgeRefusal, RestApi

_ACTIONS = "github-actions[bot]"
"""The author of what the token of a workflow writes. No user can have a name with brackets."""

_CHECKS = ".github/"

_MOST_FILES = 3000
"""Files of a pull request that GitHub lists; there may be more."""


class GitHub:
    """A repository on GitHub."""

    size: Mapping[str, int] = {"per_page": 100}
    """The parameter for the size of a page."""

    def __init__(self, place: ForgePlace, author: str | None) -> None:
        self._api = RestApi(place.api, self.headers(place.token), place.ca_cert)
        self._root = f"/repos/{place.repository}"
        self._author = author

    def headers(self, token: str) -> dict[str, str]:
        """Return the headers of each request."""
        return {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def open_requests(self) -> Iterator[PullRequest]:
        """Yield all open pull requests."""
        path = f"{self._root}/pulls"
        for each in self._api.pages(path, self.size, state="open"):
            with self._api.reading(path):
                head, base = commit_name(each["head"]["sha"]), str(each["base"]["ref"])
                found = PullRequest(number_of(each["number"]), head, base)
            yield found

    def comments(self, number: int) -> Iterator[PostedComment]:
        """Yield the comments of a pull request, oldest first."""
        path = f"{self._root}/issues/{number}/comments"
        own = self._author or self.own_name()
        for each in self._api.pages(path, self.size):
            with self._api.reading(path):
                found = PostedComment(number_of(each["id"]), str(each["body"] or ""), self.is_by(each["user"], own))
            yield found

    def own_name(self) -> str:
        """Return the name of the user of the token."""
        try:
            user = self._api.get("/user")
        except ForgeRefusal as refusal:
            if refusal.status == 403:  # the token of a workflow is not that of a user
                return _ACTIONS
            raise
        with self._api.reading("/user"):
            return str(user["login"])

    def is_by(self, user: Mapping[str, Any] | None, own: str) -> bool:
        """Return whether a user, None for one that was deleted, has a name."""
        return user is not None and bool(user["login"] == own)

    def post(self, number: int, text: str) -> None:
        """Add a comment to a pull request."""
        self._api.send("POST", f"{self._root}/issues/{number}/comments", {"body": text}, repeatable=False)

    def edit(self, _number: int, comment: int, text: str) -> None:
        """Replace the text of a comment."""
        self._api.send("PATCH", f"{self._root}/issues/comments/{comment}", {"body": text})

    def changes_checks(self, number: int) -> bool:
        """Return whether a pull request changes workflows: its own version of them has made its plan."""
        path = f"{self._root}/pulls/{number}/files"
        seen = 0
        for each in self._api.pages(path, self.size):
            with self._api.reading(path):
                names = (str(each["filename"]), str(each.get("previous_filename") or ""))
            seen += 1
            if any(name.lower().startswith(_CHECKS) for name in names):
                return True
        return seen >= _MOST_FILES

    def contains(self, revision: str, commit: str) -> bool:
        """Return whether the history of a revision has a commit."""
        path = f"{self._root}/compare/{commit}...{revision}"
        try:
            found = self._api.get(path, per_page=1)
        except ForgeRefusal as refusal:
            if refusal.status == 404:
                return False
            raise
        with self._api.reading(path):
            return bool(found["status"] in ("identical", "ahead"))

    def set_status(self, commit: str, status: CommitStatus) -> None:
        """Set the status of a commit."""
        body = {
            "state": status.state,
            "context": STATUS,
            "description": status.description[:LONGEST_STATUS],
            "target_url": status.url,
        }
        self._api.send("POST", f"{self._root}/statuses/{commit}", body)
